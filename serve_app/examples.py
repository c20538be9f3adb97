"""One small run, as every operation of the API shows it in its description."""

from __future__ import annotations

from typing import Any

RUN_ID = "run-01k5f3m2v7"
SESSION_ID = "session-01k5f3m2tz"
GOAL = "Make `index.html` for a small bakery."
_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
_T = 1_760_000_000.0

RUN_ACCEPTED = {"run_id": RUN_ID, "session_id": SESSION_ID, "created": True}
CANCEL_ACCEPTED = {"run_id": RUN_ID, "status": "cancelling"}

RUN_SUMMARY: dict[str, Any] = {
    "run_id": RUN_ID,
    "session_id": SESSION_ID,
    "status": "succeeded",
    "submitted_at": _T,
    "ended_at": _T + 21.4,
    "reason": "Every file that the goal named is there.",
    "failure_class": None,
}
RUN_PAGE = {"runs": [RUN_SUMMARY], "next": None}
RUN_DETAIL = {
    **RUN_SUMMARY,
    "goal": GOAL,
    "files_wanted": ["index.html"],
    "files_made": ["index.html"],
    "workspace": "/var/lib/familiar/workspaces/" + SESSION_ID,
    "config_hash": "5d41402abc4b",
    "idempotency_key": "bakery-1",
    "cancel_requested_at": None,
    "last_seq": 9,
    "turns": 1,
    "calls": {"succeeded": 1, "published": 1},
    "prompt_tokens": 912,
    "output_tokens": 331,
    "syntheses": [
        {
            "version": 1,
            "turn": 1,
            "kind": "final",
            "source": "rules",
            "adopted": True,
            "reason": "The only version.",
            "at": _T + 21.3,
            "text": "index.html is made.",
            "inputs": ["page-index"],
            "prompt_name": None,
            "prompt_version": None,
            "previous": None,
            "diff": None,
        }
    ],
}

_NODE = {
    "id": "page-index",
    "alias": "naughty",
    "prompt": "Write index.html: the front page of a small bakery.",
    "depends_on": [],
    "output_file": "index.html",
    "needs": [],
    "status": "published",
}
_DECISION = {
    "seq": 6,
    "at": _T + 3.2,
    "kind": "route",
    "turn": 1,
    "call_id": "page-index",
    "attempt": 1,
    "choice": "smol:0",
    "reasons": ["fewest calls in flight"],
    "detail": {},
}
PLAN = {
    "run_id": RUN_ID,
    "turns": [
        {
            "turn": 1,
            "started_at": _T,
            "planned_at": _T + 3.1,
            "planner": "model",
            "continues": False,
            "reason": None,
            "mends": [],
            "worker_calls": [_NODE],
        }
    ],
    "decisions": [_DECISION],
}

_TRY: dict[str, Any] = {
    "attempt": 1,
    "status": "succeeded",
    "alias": "naughty",
    "mode": "output_file",
    "pool": "smol",
    "replica": "smol:0",
    "devices": ["core:0"],
    "queued_at": _T + 3.1,
    "dispatched_at": _T + 3.2,
    "started_at": _T + 3.2,
    "first_token_at": _T + 3.6,
    "ended_at": _T + 20.9,
    "longest_gap_s": 0.11,
    "prompt_tokens": 402,
    "output_tokens": 220,
    "cached_tokens": 128,
    "finish_reason": "stop",
    "repairs": [],
    "failure_class": None,
    "failure_message": None,
    "adopted_by": None,
}
_CALL: dict[str, Any] = {
    "call_id": "page-index",
    "kind": "worker",
    "status": "published",
    "turn": 1,
    "alias": "naughty",
    "output_file": "index.html",
    "depends_on": [],
    "failure_class": None,
    "skipped_because": [],
}
CALL_LIST = {"run_id": RUN_ID, "calls": [{**_CALL, "tries": [_TRY]}]}
CALL_DETAIL = {
    **_CALL,
    "run_id": RUN_ID,
    "needs": [],
    "task": _NODE["prompt"],
    "tries": [
        {
            **_TRY,
            "prompt_name": "naughty",
            "prompt_version": "a3f1c2d4e5b6",
            "prompt": "system: You write one file…",
            "grammar": None,
            "raw": "```html\n<!doctype html>…\n```",
            "content": "<!doctype html>…",
            "partial": None,
            "failure_evidence": {},
        }
    ],
}

ARTIFACT = {
    "path": "index.html",
    "call_id": "page-index",
    "attempt": 1,
    "sha256": _SHA,
    "size": 1834,
    "commit": _COMMIT,
    "at": _T + 21.0,
    "media_type": "text/html",
}
ARTIFACT_LIST = {"run_id": RUN_ID, "artifacts": [ARTIFACT]}

SESSION = {
    "session_id": SESSION_ID,
    "workspace": RUN_DETAIL["workspace"],
    "created_at": _T,
    "runs": [RUN_SUMMARY],
}

DEPLOYMENT = {
    "deployment": "familiar",
    "version": "0.1.0",
    "config_hash": "5d41402abc4b",
    "store_id": "5f0c3b1e-8f0a-4c55-9d3e-2b6f3b6a1f10",
}

POOL_LIST = {
    "pools": [
        {
            "pool": "smol",
            "engine": "vllm",
            "model": "embedded:smollm2",
            "aliases": ["orchestrator", "naughty"],
            "queued": 0,
            "replicas": [
                {
                    "replica": "smol:0",
                    "pool": "smol",
                    "state": "ready",
                    "detail": "",
                    "devices": ["core:0"],
                    "node": "local",
                    "slots": 4,
                    "in_flight": 1,
                    "stats": {
                        "running": 1,
                        "waiting": 0,
                        "tokens_per_s": 18.7,
                        "prompt_tokens": 912,
                        "output_tokens": 331,
                        "cached_tokens": 128,
                    },
                }
            ],
        }
    ]
}

LOG = (
    f"2025-10-09T08:53:20.000Z {RUN_ID} seq=1 turn=- call=- role=user run.submitted goal of 37 B\n"
)
EVENTS = (
    "id: 1\n"
    f'data: {{"run_id":"{RUN_ID}","seq":1,"epoch":1,"at":{_T},"type":"turn.started",'
    '"body":{"turn":1}}\n'
    "\n"
    "event: progress\n"
    'data: {"calls":[{"call":"page-index","attempt":1,"alias":"naughty","replica":"smol:0",'
    '"tokens":57,"tokens_per_s":18.7}]}\n'
    "\n"
    "event: end\n"
    f'data: {{"run_id":"{RUN_ID}","seq":9,"outcome":"succeeded","reason":"Every file that the goal '
    'named is there.","failure_class":null}\n'
    "\n"
)
METRICS = (
    "# HELP familiar_runs_ended_total Runs that have ended, by outcome.\n"
    "# TYPE familiar_runs_ended_total counter\n"
    'familiar_runs_ended_total{outcome="succeeded"} 12.0\n'
)

EXPLANATION: dict[str, Any] = {
    "run_id": RUN_ID,
    "outcome": "failed",
    "symptom": "The run failed after 3.4 s (call_oversized): turn 1 of 1 ended and these files are "
    "missing: index.html",
    "causes": [
        {
            "cause": "call_oversized",
            "says": "One call was asked to write more than its deadline allows at this backend's "
            "usual rate. Seen in page-index/1 on smol:0.",
            "likelihood": 0.9,
            "decisive": True,
            "lost_s": 3.1,
            "calls": ["page-index/1"],
            "evidence": [
                {
                    "says": "It was still writing at 60.0 tokens/s when its 3 s were over: 178 "
                    "tokens so far, and no end.",
                    "events": [7],
                    "figures": {"tokens": 178, "tokens_per_s": 60.0, "deadline_s": 3.0},
                }
            ],
            "ruled_out": [
                {
                    "cause": "backend_unreachable",
                    "how": "smol:0 answered its health check right after the failure.",
                    "events": [7],
                }
            ],
            "change": ["Raise aliases.naughty.deadline_s, 3 now."],
            "contradicts": [],
        }
    ],
    "events": 9,
    "seconds": 3.4,
}
_DIGEST = {"outcome": {"outcome": "failed"}, "plan": {"calls": 1}}
RUN_DIFFERENCE: dict[str, Any] = {
    "a": {"run_id": RUN_ID, "sections": _DIGEST},
    "b": {
        "run_id": "run-01k5f3n9q2",
        "sections": {"outcome": {"outcome": "succeeded"}, "plan": {"calls": 8}},
    },
    "differences": [
        {"section": "outcome", "name": "outcome", "a": "failed", "b": "succeeded", "ratio": None},
        {"section": "plan", "name": "calls", "a": 1, "b": 8, "ratio": 8.0},
    ],
    "same": ["prompts"],
}
