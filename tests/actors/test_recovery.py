"""What follows a failed attempt, end to end: texts that are gone on with, errors that are told,
calls that are split, budgets that end a run. Scripted engines on the shared Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import LocalCluster
from familiar import event as ev
from familiar.config.schema import Config
from familiar.errors import FailureClass
from tests.actors.deployment import Deployment, deployed, git, scripted_config

pytestmark = pytest.mark.ray

LONG = "# Long\n\n" + " ".join(f"w{n}" for n in range(140)) + ".\n"
"""Some 145 tokens."""


def plan(*calls: dict[str, Any], more: bool = False) -> str:
    return json.dumps({"continue": more, "worker_calls": list(calls)})


def writes(name: str, prompt: str, alias: str = "naughty") -> dict[str, Any]:
    file = f"{name.partition('-')[0]}.md"
    return {"id": name, "alias": alias, "prompt": prompt, "output_file": file}


RULES: list[dict[str, Any]] = [
    # Plans, by the goal; the second one of `big.md` only for a prompt that has the arithmetic.
    {
        "when": {"call": "plan-*", "contains": ["`big.md`", "split it into at least"]},
        "answer": plan(writes("big-2", "Write at most 20 words, half of it.")),
    },
    {
        "when": {"call": "plan-*", "contains": "`big.md`"},
        "answer": plan(writes("big", "Write all there is to say.")),
    },
    {
        "when": {"call": "plan-*", "contains": "`long.md`"},
        "answer": plan(writes("long", "Write 60 words.")),
    },
    {
        "when": {"call": "plan-*", "contains": "`cut.md`"},
        "answer": plan(writes("cut", "Write at most 60 words.", "terse")),
    },
    {
        "when": {"call": "plan-*", "contains": "`bad.md`"},
        "answer": plan(writes("bad", "Write some words.")),
    },
    {
        "when": {"call": "plan-*", "contains": "`one.md`"},
        "answer": plan(*(writes(name, "Write some words.") for name in ("one", "two", "three"))),
    },
    {"when": {"call": "long"}, "answer": LONG, "rates": {"tokens_per_s": 100}},
    {"when": {"call": "cut"}, "answer": LONG},
    {"when": {"call": "big"}, "answer": {"tokens": 5_000}, "rates": {"tokens_per_s": 100}},
    {
        "when": {"call": "bad", "contains": "cannot be used: The model wrote nothing."},
        "answer": "# Better\n",
    },
    {"when": {"call": "bad"}, "answer": ""},
    {"when": {"call": "three"}, "answer": {"tokens": 5_000}, "rates": {"tokens_per_s": 20}},
    {"when": {"call": "synthesis-*"}, "answer": "All is done; see nothing.md."},
]


def settings(folder: Path, **budgets: Any) -> Config:
    script = {"rules": RULES, "answer": {"tokens": 120}, "invocations": str(folder / "invocations")}
    alias = {"pool": "near", "mode": "output_file", "first_token_deadline_s": 60.0}
    pool = {
        "engine": "scripted",
        "model": "script",
        "slots": 16,
        "replicas": [{"cores": [0]}],
        "engine_args": {"script": script},
    }
    return scripted_config(
        folder,
        pools={"near": pool},
        aliases={
            "orchestrator": {"pool": "near"},
            "naughty": {**alias, "deadline_s": 1.0 if not budgets else 60.0},
            "terse": {**alias, "sampling": {"max_tokens": 100}},
        },
        budgets={"attempts": 5, **budgets},
    )


@pytest.fixture(scope="module")
def deployment(
    shared_ray: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("recovery")
    with deployed(settings(folder), folder) as made:
        yield made


class Told:
    """A run that ended."""

    def __init__(self, deployment: Deployment, goal: str) -> None:
        self.run_id = deployment.submit(goal)
        deployment.wait_ended([self.run_id])
        self.deployment = deployment
        self.bodies = [event.body for event in deployment.history(self.run_id)]
        end = self.bodies[-1]
        assert isinstance(end, ev.RunEnded)
        self.end = end

    def recoveries(self) -> list[ev.RecoveryChosen]:
        return [body for body in self.bodies if isinstance(body, ev.RecoveryChosen)]

    def dispatched(self, call: str) -> list[ev.CallDispatched]:
        found = [body for body in self.bodies if isinstance(body, ev.CallDispatched)]
        return [body for body in found if body.call == call]

    def prompt(self, call: str, attempt: int = 1) -> list[dict[str, str]]:
        sent = next(b for b in self.dispatched(call) if b.attempt == attempt)
        told: list[dict[str, str]] = json.loads(self.deployment.reader.text(sent.prompt.sha256))
        return told

    def file(self, path: str) -> str:
        return git(self.deployment.reader.run(self.run_id).workspace, "show", f"HEAD:{path}")


def test_a_call_that_hit_its_deadline_is_gone_on_with_from_there(deployment: Deployment) -> None:
    told = Told(deployment, "Write `long.md`.")
    assert told.end.outcome == "succeeded"
    (chosen,) = told.recoveries()
    assert (chosen.action, chosen.call) == ("continue", "long")
    first, second = told.dispatched("long")
    failed = next(body for body in told.bodies if isinstance(body, ev.CallFailed))
    assert failed.failure.failure_class is FailureClass.CALL_OVERSIZED
    assert (first.continues, second.continues) == (None, failed.raw)
    assert failed.raw is not None
    partial = deployment.reader.text(failed.raw.sha256)
    assert told.prompt("long", 2)[:-1] == told.prompt("long")
    assert told.prompt("long", 2)[-1] == {"role": "assistant", "content": partial.rstrip()}
    assert told.file("long.md") == LONG
    done = [body for body in told.bodies if isinstance(body, ev.CallSucceeded)]
    rest = next(body for body in done if body.call == "long")
    assert deployment.reader.text(rest.raw.sha256) == LONG
    assert 0 < rest.usage.output_tokens < 120


def test_an_answer_cut_by_its_length_is_too(deployment: Deployment) -> None:
    told = Told(deployment, "Write `cut.md`.")
    assert told.end.outcome == "succeeded"
    (chosen,) = told.recoveries()
    assert chosen.action == "continue"
    assert chosen.evidence["tokens_written"] == 100
    assert told.file("cut.md") == LONG


def test_a_bad_answer_is_asked_again_with_the_named_error(deployment: Deployment) -> None:
    told = Told(deployment, "Write `bad.md`.")
    assert told.end.outcome == "succeeded"
    assert [chosen.action for chosen in told.recoveries()] == ["ask_again"]
    assert told.file("bad.md") == "# Better\n"


def test_a_call_that_is_too_large_is_split_by_the_next_plan(deployment: Deployment) -> None:
    told = Told(deployment, "Write `big.md`.")
    assert told.end.outcome == "succeeded"
    (chosen,) = told.recoveries()
    assert (chosen.action, chosen.call) == ("split", "big")
    assert chosen.reasons[-1] in told.prompt("plan-2")[-1]["content"]
    plans = [body for body in told.bodies if isinstance(body, ev.PlanAccepted)]
    assert [[call.id for call in made.calls] for made in plans] == [["big"], ["big-2"]]
    made = [body for body in told.bodies if isinstance(body, ev.SynthesisMade)]
    assert [(m.version, m.kind, m.source, m.adopted) for m in made] == [
        (1, "partial", "rules", True),
        (2, "final", "model", False),
        (3, "final", "rules", True),
    ]
    assert "nothing.md" in made[1].reason
    assert made[1].prompt_name == "synthesis/final"
    assert made[2].diff is not None
    assert "+- big.md: made by call big-2" in deployment.reader.text(made[2].diff.sha256)


@pytest.mark.parametrize(("name", "limit"), [("output_tokens", 300), ("wall_s", 3.0)])
def test_a_spent_budget_ends_the_run_with_what_there_is(
    deployment: Deployment, name: str, limit: float
) -> None:
    deployment.redeploy(settings(deployment.folder, **{name: limit}))
    told = Told(deployment, "Write `one.md`, `two.md` and `three.md`.")
    assert told.end.failure_class is FailureClass.BUDGET_EXHAUSTED
    assert f"budgets.{name}" in told.end.reason
    assert "three.md" in told.end.reason
    assert deployment.reader.run(told.run_id).files_made == ("one.md", "two.md")
    reached = [body for body in told.bodies if isinstance(body, ev.BudgetReached)]
    assert [(body.budget, body.soft) for body in reached] == [(name, True), (name, False)]
    (partial,) = (body for body in told.bodies if isinstance(body, ev.SynthesisMade))
    assert partial.kind == "partial"
    text = deployment.reader.text(partial.text.sha256)
    assert "- three.md" in text.partition("What is missing:")[2]
