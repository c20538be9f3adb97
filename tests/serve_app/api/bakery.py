"""A whole run of one page that failed once, as events: what the API's tests look at."""

from __future__ import annotations

import hashlib

from familiar import event as ev
from familiar.call import Failure, Timing
from familiar.errors import FailureClass
from tests.serve_app.api.local_backend import LocalBackend

GOAL = "Make `index.html` for a small bakery."
PROMPT = '[{"role": "system", "content": "You write one file."}]'
RAW = "```html\n<!doctype html><title>Bread</title><p>Pão\n```"
PAGE = "<!doctype html><title>Bread</title><p>Pão"
PLAN = '{"continue": false, "worker_calls": []}'
CLAIM = "See nothing.html."
ANSWER = "index.html is made."
DIFF = "--- version 1\n+++ version 2\n@@ -1 +1 @@\n-See nothing.html.\n+index.html is made."
COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
T = 1_760_000_000.0


def _dispatched(call: str, attempt: int, kind: str, alias: str, file: str | None = None) -> ev.Body:
    return ev.CallDispatched.model_validate(
        {
            "call": call,
            "attempt": attempt,
            "kind": kind,
            "turn": 1,
            "alias": alias,
            "mode": "output_file" if file else "text",
            "pool": "smol",
            "replica": f"smol:{attempt - 1}",
            "devices": ("core:0",),
            "queued_at": T,
            "prompt": ev.text_ref(PROMPT),
            "prompt_name": alias,
            "prompt_version": "a3f1c2d4e5b6",
            "output_file": file,
            "reasons": ("fewest calls in flight",),
        }
    )


def _succeeded(call: str, attempt: int, kind: str, raw: str, text: str) -> ev.Body:
    return ev.CallSucceeded.model_validate(
        {
            "call": call,
            "attempt": attempt,
            "kind": kind,
            "raw": ev.text_ref(raw),
            "text": ev.text_ref(text),
            "timing": {"started_at": T + 1, "first_token_at": T + 1.5, "ended_at": T + 4},
            "usage": {"prompt_tokens": 400, "output_tokens": 220, "cached_tokens": 128},
            "finish_reason": "stop",
            "repairs": ("fence",) if raw != text else (),
        }
    )


BODIES: tuple[ev.Body, ...] = (
    ev.TurnStarted(turn=1),
    _dispatched("plan-1", 1, "plan", "orchestrator"),
    _succeeded("plan-1", 1, "plan", PLAN, PLAN),
    ev.PlanAccepted(
        turn=1,
        planner="model",
        continue_=False,
        calls=(
            ev.PlannedCall(
                id="page-index", alias="naughty", prompt="the front page", output_file="index.html"
            ),
            ev.PlannedCall(
                id="review", alias="grandpa", prompt="review it", depends_on=("page-index",)
            ),
        ),
        repairs=(ev.Problem(code="dedupe", message="A double dependency was dropped."),),
    ),
    _dispatched("page-index", 1, "worker", "naughty", "index.html"),
    ev.CallFailed(
        call="page-index",
        attempt=1,
        kind="worker",
        failure=Failure(
            failure_class=FailureClass.BACKEND_STALLED,
            message="No token for 60 s.",
            evidence={"gap_s": 60.0},
        ),
        timing=Timing(started_at=T, ended_at=T + 60),
        raw=ev.text_ref("<!doc"),
    ),
    ev.RecoveryChosen(
        call="page-index",
        attempt=1,
        action="retry_elsewhere",
        avoid_replica="smol:0",
        reasons=("The replica stalled.",),
    ),
    _dispatched("page-index", 2, "worker", "naughty", "index.html"),
    _succeeded("page-index", 2, "worker", RAW, PAGE),
    ev.FilePublished(
        call="page-index",
        attempt=2,
        path="index.html",
        sha256=hashlib.sha256(PAGE.encode()).hexdigest(),
        size=len(PAGE.encode()),
        commit=COMMIT,
    ),
    ev.CallSkipped(call="review", because=("page-index",)),
    ev.SynthesisMade(
        version=1,
        turn=1,
        kind="final",
        source="model",
        text=ev.text_ref(CLAIM),
        inputs=("page-index",),
        adopted=False,
        reason="it names files that are not there: nothing.html",
        prompt_name="synthesis/final",
        prompt_version="a3f1c2d4e5b6",
    ),
    ev.SynthesisMade(
        version=2,
        turn=1,
        kind="final",
        source="rules",
        text=ev.text_ref(ANSWER),
        inputs=("page-index",),
        adopted=True,
        reason="made by rules",
        previous=1,
        diff=ev.text_ref(DIFF),
    ),
    ev.RunEnded(outcome="succeeded", reason="Every file that the goal named is there."),
)
LAST_SEQ = 1 + len(BODIES)
TEXTS = (PROMPT, RAW, PAGE, PLAN, CLAIM, ANSWER, DIFF, "<!doc")


async def bake(backend: LocalBackend, run_id: str, upto: int = len(BODIES)) -> None:
    """Record the first `upto` events after `run.submitted`."""
    if upto:
        await backend.record(run_id, *BODIES[:upto], texts=TEXTS)
