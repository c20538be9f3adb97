"""The faults that are injected into scripted engines, and the cause that each must be explained by.

A fault is what a planner answers to one goal and how engines behave for its calls: rates, silence,
death, refusals, lengths. No script names a class or a cause. `EXPECTED` is the only place where the
two meet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from familiar.explain.cause import Cause

RATE = 100


def call(name: str, alias: str = "steady", *after: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "alias": alias,
        "prompt": f"Write about {name}.",
        "depends_on": list(after),
        **more,
    }


def plan(*calls: Mapping[str, Any], more: bool = False) -> str:
    return json.dumps({"continue": more, "worker_calls": list(calls)})


@dataclass(frozen=True, slots=True)
class Fault:
    """`plans` are the planner's answers by turn, the last repeats; `rules` are the engines'."""

    name: str
    plans: tuple[str, ...]
    rules: tuple[dict[str, Any], ...] = ()
    budgets: bool = False
    files: tuple[str, ...] = ()
    about: str = ""

    @property
    def goal(self) -> str:
        return f"Please do what is called {self.mark}. {self.about}"

    @property
    def mark(self) -> str:
        return f"goal-{self.name}-goal"

    def planner_rules(self) -> list[dict[str, Any]]:
        rules = [
            {"when": {"call": f"plan-{turn}", "contains": self.mark}, "answer": {"text": answer}}
            for turn, answer in enumerate(self.plans, start=1)
        ]
        last = {"when": {"call": "plan-*", "contains": self.mark}, "answer": rules[-1]["answer"]}
        return [*rules, last]


def rule(pattern: str, *faults: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    attempt = {"attempt": more.pop("attempt")} if "attempt" in more else {}
    return {"when": {"call": pattern, **attempt}, "faults": list(faults), **more}


GOOD = {"answer": {"tokens": 30}}
ENDLESS = {"answer": {"tokens": 100_000}}

FAULTS: tuple[Fault, ...] = (
    Fault(
        "slow",
        (
            plan(
                *(call(f"slow-{n}") for n in (1, 2, 3)),
                call("slow-4", "steady", "slow-1", "slow-2", "slow-3"),
            ),
        ),
        (rule("slow-4", {"kind": "slow", "tokens_per_s": 5}, **ENDLESS), rule("slow-*", **GOOD)),
    ),
    Fault(
        "stalled",
        (plan(call("stall-1")),),
        (rule("stall-1", {"kind": "stall", "after_tokens": 20}, **ENDLESS),),
    ),
    Fault("oversized", (plan(call("big-1")),), (rule("big-1", **ENDLESS),)),
    Fault(
        "dead",
        (plan(call("dead-1", "frail")),),
        (rule("dead-1", {"kind": "die", "after_tokens": 10, "exit": True}, **ENDLESS),),
    ),
    Fault(
        "flapping",
        (plan(call("flap-1", "flappy"), call("flap-2", "flappy", "flap-1")),),
        (
            rule("flap-1", {"kind": "die", "after_tokens": 5, "exit": True}, attempt=1, **GOOD),
            rule("flap-2", {"kind": "die", "after_tokens": 5, "exit": True}, **GOOD),
            rule("flap-*", **GOOD),
        ),
    ),
    Fault(
        "cut",
        (plan(call("cut-1")),),
        (rule("cut-1", {"kind": "cut", "after_tokens": 12}, **GOOD),),
    ),
    Fault(
        "overloaded",
        (plan(call("over-1")),),
        (rule("over-1", {"kind": "status", "status": 429, "message": "too many requests"}),),
    ),
    Fault(
        "repeated",
        (plan(call("again-1", "filer", output_file="again.md")),),
        (rule("again-1", answer={"text": " "}),),
        files=("again.md",),
    ),
    Fault(
        "invalid",
        (plan(call("loop-1", "steady", "loop-2"), call("loop-2", "steady", "loop-1")),),
    ),
    Fault("malformed", ("Certainly! I will first write the pages, and then review them.",)),
    Fault(
        "nested",
        (plan({**call("nest-1"), "prompt": plan(call("inner"))}),),
        (rule("nest-1", **GOOD),),
    ),
    Fault(
        "truncated",
        (plan(call("cutoff-1", "short", output_file="short.md")),),
        (rule("cutoff-1", answer={"tokens": 500}),),
        files=("short.md",),
    ),
    Fault(
        "overflow",
        (plan({**call("long-1", "narrow"), "prompt": "a b c d e " * 110}),),
    ),
    Fault(
        "queue",
        (plan(*(call(f"queue-{n}", "crowded") for n in range(6))),),
        (rule("queue-*", answer={"tokens": 90}),),
    ),
    Fault(
        "model",
        (plan(call("model-1")),),
        (
            rule(
                "model-1",
                {"kind": "status", "status": 404, "message": "The model `big` does not exist"},
            ),
        ),
    ),
    Fault("key", (plan(call("key-1")),), (rule("key-1", {"kind": "status", "status": 401}),)),
    Fault("node", (plan(call("node-1", "far")),), (rule("node-1", **ENDLESS),)),
    Fault(
        "turns",
        tuple(plan(call(f"turn-{n}"), more=True) for n in range(1, 5)),
        (rule("turn-*", answer={"tokens": 5}),),
        budgets=True,
    ),
    Fault(
        "calls",
        (
            plan(
                call("many-0"),
                *(call(f"many-{n}", "steady", f"many-{n - 1}") for n in range(1, 12)),
            ),
        ),
        (rule("many-*", answer={"tokens": 5}),),
        budgets=True,
    ),
    Fault(
        "output",
        (
            plan(
                call("wordy-1"),
                call("wordy-2", "steady", "wordy-1"),
                call("wordy-3", "steady", "wordy-2"),
            ),
        ),
        (rule("wordy-*", answer={"tokens": 400}, rates={"tokens_per_s": 2000}),),
        budgets=True,
    ),
    Fault(
        "tokens",
        (plan(call("heavy-1")),),
        (rule("heavy-1", answer={"tokens": 5}),),
        budgets=True,
        about="Think of everything. " * 1_500,
    ),
    Fault(
        "money",
        (
            plan(
                call("dear-1", "priced"),
                call("dear-2", "priced", "dear-1"),
                call("dear-3", "priced", "dear-2"),
            ),
        ),
        (rule("dear-*", answer={"tokens": 30}),),
        budgets=True,
    ),
    Fault(
        "recoveries",
        (plan(call("often-1")),),
        (rule("often-1", {"kind": "cut", "after_tokens": 5}, **GOOD),),
        budgets=True,
    ),
    Fault(
        "wall",
        (plan(call("slack-1")),),
        (rule("slack-1", **ENDLESS, rates={"tokens_per_s": 2}),),
        budgets=True,
    ),
)

EXPECTED: dict[str, Cause] = {
    "slow": Cause.BACKEND_SLOW,
    "stalled": Cause.BACKEND_STALLED,
    "oversized": Cause.CALL_OVERSIZED,
    "dead": Cause.BACKEND_DIED,
    "flapping": Cause.BACKEND_FLAPPING,
    "cut": Cause.STREAM_CUT,
    "overloaded": Cause.BACKEND_OVERLOADED,
    "repeated": Cause.PLAN_REPEATED,
    "invalid": Cause.PLAN_INVALID,
    "malformed": Cause.WIRE_MALFORMED,
    "nested": Cause.WIRE_NESTED,
    "truncated": Cause.CALL_TRUNCATED,
    "overflow": Cause.CONTEXT_OVERFLOW,
    "queue": Cause.QUEUE_TIMEOUT,
    "model": Cause.MODEL_UNKNOWN,
    "key": Cause.KEY_REFUSED,
    "node": Cause.NODE_LOST,
    "turns": Cause.BUDGET_TURNS,
    "calls": Cause.BUDGET_MODEL_CALLS,
    "output": Cause.BUDGET_OUTPUT_TOKENS,
    "tokens": Cause.BUDGET_TOKENS,
    "money": Cause.BUDGET_MONEY,
    "recoveries": Cause.BUDGET_RECOVERIES,
    "wall": Cause.BUDGET_WALL,
}
