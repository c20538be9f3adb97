"""Histories to record: one that is told in full, and random ones."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast, get_args

from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import select

from actors.store.store import Store
from actors.store.tables import PROJECTIONS
from familiar import event as e
from familiar.call import Failure, Timing, Usage
from familiar.errors import FailureClass

GOAL = "A site for a dental clinic"
PROMPT = "Write the front page"
PLAN_RAW = '{"continue": false}'
PAGE = "<h1>Hello</h1>"
ANSWER = "Here is your site."
T0 = 1_700_000_000.0


def ref(text: str) -> e.TextRef:
    return e.text_ref(text)


def texts(*values: str) -> dict[str, str]:
    return {ref(value).sha256: value for value in values}


def number(
    bodies: Iterable[BaseModel], epoch: int, run_id: str = "run-1", first: int = 1
) -> list[e.Event]:
    """The bodies as events of one run, a second apart."""
    return [
        e.Event(run_id, seq, epoch, T0 + seq, cast("e.Body", body))
        for seq, body in enumerate(bodies, start=first)
    ]


def submitted(**changes: Any) -> e.RunSubmitted:
    values: dict[str, Any] = {
        "session_id": "session-1",
        "goal": ref(GOAL),
        "files": ("index.html", "about.html"),
        "workspace": "/w/session-1",
        "config_hash": "c0ffee",
    }
    return e.RunSubmitted(**{**values, **changes})


def dispatched(call: str, attempt: int = 1, **changes: Any) -> e.CallDispatched:
    values: dict[str, Any] = {
        "call": call,
        "attempt": attempt,
        "kind": "worker",
        "turn": 1,
        "alias": "naughty",
        "mode": "output_file",
        "pool": "smollm2",
        "replica": "smollm2:0",
        "devices": ("cpu:0",),
        "queued_at": T0,
        "prompt": ref(PROMPT),
        "prompt_name": "naughty",
        "prompt_version": "v1",
        "output_file": "index.html",
        "reasons": ("least loaded",),
    }
    return e.CallDispatched(**{**values, **changes})


def succeeded(call: str, attempt: int = 1, **changes: Any) -> e.CallSucceeded:
    values: dict[str, Any] = {
        "call": call,
        "attempt": attempt,
        "kind": "worker",
        "raw": ref(PAGE),
        "text": ref(PAGE),
        "timing": Timing(started_at=T0 + 10, first_token_at=T0 + 11, ended_at=T0 + 14),
        "usage": Usage(prompt_tokens=100, output_tokens=40, cached_tokens=60),
        "finish_reason": "stop",
    }
    return e.CallSucceeded(**{**values, **changes})


def failed(call: str, attempt: int = 1, **changes: Any) -> e.CallFailed:
    values: dict[str, Any] = {
        "call": call,
        "attempt": attempt,
        "kind": "worker",
        "failure": Failure(
            failure_class=FailureClass.BACKEND_STALLED,
            message="No token for 60 s.\nThe last was <p>",
            evidence={"gap_s": 60.5, "tokens": 12},
        ),
        "timing": Timing(started_at=T0 + 5, ended_at=T0 + 9, longest_gap_s=3.0),
        "usage": Usage(prompt_tokens=100, output_tokens=12),
        "raw": ref("<p>"),
    }
    return e.CallFailed(**{**values, **changes})


def story() -> list[e.Body]:
    """A run with all that can happen: a rejected plan, the rules planner, a failed attempt, a call
    that is skipped, a published file, a synthesis."""
    return [
        submitted(idempotency_key="key-1"),
        e.TurnStarted(turn=1),
        dispatched(
            "plan-1", kind="plan", alias="orchestrator", mode="text", output_file=None, reasons=()
        ),
        succeeded("plan-1", kind="plan", raw=ref(PLAN_RAW), text=ref(PLAN_RAW)),
        e.PlanRejected(
            turn=1, attempt=1, problems=(e.Problem(code="cycle", message="a waits for itself"),)
        ),
        e.PlannerChosen(turn=1, planner="rules", reasons=("2 of 2 plans were invalid",)),
        e.PlanAccepted(
            turn=1,
            planner="rules",
            continue_=False,
            calls=(
                e.PlannedCall(
                    id="index", alias="naughty", prompt="front page", output_file="index.html"
                ),
                e.PlannedCall(
                    id="about",
                    alias="grandpa",
                    prompt="about page",
                    depends_on=("index",),
                    output_file="about.html",
                    needs=("index.html",),
                ),
                e.PlannedCall(id="review", alias="grandpa", prompt="look", depends_on=("about",)),
            ),
            repairs=(e.Problem(code="path", message="a leading slash was removed", call="about"),),
            reason="rules",
        ),
        dispatched("index"),
        failed("index"),
        e.RecoveryChosen(
            call="index",
            attempt=1,
            action="retry_elsewhere",
            avoid_replica="smollm2:0",
            reasons=("it stalled",),
        ),
        dispatched("index", 2, replica="smollm2:1", devices=("cpu:1",)),
        e.CallAdopted(call="index", attempt=2, holder="smollm2:1"),
        succeeded("index", 2, repairs=("fence",)),
        e.FilePublished(
            call="index", attempt=2, path="index.html", sha256="ab" * 32, size=14, commit="cd" * 20
        ),
        dispatched("about", alias="grandpa", output_file="about.html"),
        failed("about", failure=Failure(failure_class=FailureClass.WIRE_MALFORMED, message="no")),
        e.RecoveryChosen(call="about", attempt=1, action="give_up", reasons=("3 of 3 attempts",)),
        e.CallSkipped(call="review", because=("about",)),
        e.SynthesisMade(
            version=1,
            turn=1,
            kind="final",
            source="rules",
            text=ref(ANSWER),
            inputs=("index",),
            adopted=True,
            reason="the only one",
        ),
        e.RunEnded(outcome="failed", reason="about.html is missing", failure_class="files_missing"),
    ]


STORY_TEXTS = texts(GOAL, PROMPT, PLAN_RAW, PAGE, ANSWER, "<p>")

_call = st.sampled_from(["a", "b", "c", "d"])
_attempt = st.integers(1, 3)
_turn = st.integers(1, 3)
_seconds = st.floats(0, 1e6, allow_nan=False)
_words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
_reasons = st.lists(_words, max_size=2).map(tuple)
_ref = st.sampled_from([ref(GOAL), ref(PAGE), ref(ANSWER)])
_usage = st.builds(Usage, prompt_tokens=st.integers(0, 10**6), output_tokens=st.integers(0, 10**6))
_timing = st.builds(
    Timing,
    started_at=_seconds,
    first_token_at=st.none() | _seconds,
    ended_at=_seconds,
    longest_gap_s=_seconds,
)
_kind = st.sampled_from(["plan", "worker", "synthesis"])
_planner = st.sampled_from(["model", "rules"])
_planned = st.builds(
    e.PlannedCall,
    id=_call,
    alias=st.sampled_from(["naughty", "grandpa"]),
    prompt=_words,
    depends_on=st.lists(_call, max_size=3).map(tuple),
    output_file=st.none() | st.just("x.html"),
)
_failure = st.builds(
    Failure,
    failure_class=st.sampled_from(FailureClass),
    message=_words,
    evidence=st.dictionaries(st.sampled_from(["x", "y"]), st.integers() | _words, max_size=2),
)


def bodies() -> st.SearchStrategy[e.Body]:
    """Any event, with ids so few that events of one history meet. Most such histories could not
    happen; a projection has to take them all the same."""
    return st.one_of(
        st.builds(
            submitted,
            session_id=st.sampled_from(["s1", "s2"]),
            workspace=st.just("/w"),
            goal=_ref,
        ),
        st.builds(e.RunCancelRequested, reason=_words),
        st.builds(
            e.RunEnded, outcome=st.sampled_from(["succeeded", "failed", "cancelled"]), reason=_words
        ),
        st.builds(e.TurnStarted, turn=_turn),
        st.builds(
            e.PlanAccepted,
            turn=_turn,
            planner=_planner,
            continue_=st.booleans(),
            calls=st.lists(_planned, max_size=4).map(tuple),
            reason=_words,
        ),
        st.builds(
            e.PlanRejected,
            turn=_turn,
            attempt=_attempt,
            problems=st.just((e.Problem(code="c", message="m"),)),
        ),
        st.builds(e.PlannerChosen, turn=_turn, planner=_planner, reasons=_reasons),
        st.builds(
            dispatched,
            call=_call,
            attempt=_attempt,
            kind=_kind,
            turn=_turn,
            reasons=_reasons,
            continues=st.none() | _ref,
        ),
        st.builds(e.CallAdopted, call=_call, attempt=_attempt, holder=st.just("smollm2:1")),
        st.builds(
            succeeded,
            call=_call,
            attempt=_attempt,
            kind=_kind,
            raw=_ref,
            timing=_timing,
            usage=_usage,
            repairs=_reasons,
        ),
        st.builds(
            failed,
            call=_call,
            attempt=_attempt,
            kind=_kind,
            failure=_failure,
            timing=st.none() | _timing,
            usage=_usage,
            raw=st.none() | _ref,
        ),
        st.builds(e.CallSkipped, call=_call, because=st.just(("a",))),
        st.builds(
            e.RecoveryChosen,
            call=_call,
            attempt=_attempt,
            action=st.sampled_from(get_args(e.RecoveryAction)),
            reasons=_reasons,
            evidence=st.dictionaries(st.just("tokens"), st.integers(), max_size=1),
        ),
        st.builds(
            e.BudgetReached,
            budget=st.sampled_from(get_args(e.Budget)),
            limit=_seconds,
            used=_seconds,
            soft=st.booleans(),
        ),
        st.builds(
            e.FilePublished,
            call=_call,
            attempt=_attempt,
            path=st.sampled_from(["x.html", "y.html"]),
            sha256=st.just("ab" * 32),
            size=st.integers(0, 2**40),
            commit=st.just("cd" * 20),
        ),
        st.builds(
            e.StackCompacted,
            turn=_turn,
            reason=_words,
            tokens_before=st.integers(0, 10**6),
            tokens_after=st.integers(0, 10**6),
            kept=_reasons,
            dropped=_reasons,
        ),
        st.builds(
            e.SynthesisMade,
            version=st.integers(1, 3),
            turn=_turn,
            kind=st.sampled_from(["partial", "final"]),
            source=_planner,
            text=_ref,
            adopted=st.booleans(),
            reason=_words,
            previous=st.none() | st.integers(1, 3),
            diff=st.none() | _ref,
        ),
    )


def dump(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every projection."""
    with store._engine.connect() as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(select(table))),
                key=repr,
            )
            for table in PROJECTIONS
        }


def seqs(events: Sequence[e.Event]) -> list[int]:
    return [event.seq for event in events]


def pragma(store: Store, name: str) -> Any:
    """The answer of SQLite to a PRAGMA on the connection that writes."""
    with store._transaction() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@contextmanager
def lost_answer(store: Store) -> Iterator[None]:
    """Commits are carried out, and the connection breaks before their answer comes."""
    dialect = store._writer.dialect
    commit = dialect.do_commit

    def lose(connection: Any) -> None:
        commit(connection)
        raise OSError(errno.ENOSPC, "No space left on device")

    dialect.do_commit = lose  # type: ignore[method-assign]
    try:
        yield
    finally:
        dialect.do_commit = commit  # type: ignore[method-assign]
