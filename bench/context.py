"""What handing artifacts on by reference saves, and what a prefix cache could serve of the stack.

Two figures over whole runs, in one process, with the real machine, briefer, plan lint and judge, a
scripted planner, fixed artifacts (`context_artifacts/`) and the embedded model's own tokenizer and
chat template:

1. Prompt tokens of a run that makes 13 files in ten turns with reviews between, over those of the
   same run with the same plans where everything is handed on inline: each text that a call depends
   on, in full in its prompt, and each result in full in the orchestrator's messages. In both, every
   worker checks that the texts which its plan needs stand in its prompt, or the run fails.
2. The share of the orchestrator's prompt tokens over 50 turns that were a prefix of one of its
   earlier prompts, token by token, so that a prefix cache could serve them.

Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.engines.weights import resolve_model
from actors.orchestrator.briefer import Briefer
from bench.in_process import InProcessRun, Sent
from bench.report import report
from familiar.brief import Brief
from familiar.config.schema import Config
from familiar.context.artifact import ArtifactRef
from familiar.engine import Message
from familiar.errors import FailureClass
from familiar.plan.view import EarlierCall, PoolLoad
from familiar.prompts.planning import Result
from familiar.prompts.worker import Source
from familiar.run.state import CallState, RunState

RATIO_GOAL = 0.37
SHARE_GOAL = 0.95
BLOCK = 16
"""Tokens of a block of vLLM's prefix cache: it serves whole blocks only."""
ARTIFACTS = Path(__file__).with_name("context_artifacts")
Tokens = Callable[[Sequence[Message]], list[int]]
Node = tuple[str, str | None, tuple[str, ...], tuple[str, ...]]
"""Id, output_file, depends_on, needs."""

PLANS: tuple[tuple[Node, ...], ...] = (
    (("schema", "shed/schema.py", (), ()),),
    (
        ("store", "shed/store.py", ("schema",), ("shed/schema.py",)),
        ("rules", "site/rules.html", ("schema",), ()),
    ),
    (
        ("lending", "shed/lending.py", ("schema", "store"), ("shed/schema.py",)),
        ("check-rules", None, ("rules",), ("site/rules.html",)),
    ),
    (
        ("desk", "shed/desk.py", ("schema", "store", "lending"), ()),
        ("report", "shed/report.py", ("schema",), ("shed/schema.py",)),
    ),
    (
        ("tests", "shed/test_lending.py", ("schema", "store", "lending"), ("shed/lending.py",)),
        ("check-code", None, ("store", "lending", "desk"), ("shed/lending.py",)),
    ),
    (
        ("home", "site/index.html", ("rules", "check-rules"), ()),
        ("style", "site/shed.css", ("rules",), ("site/rules.html",)),
    ),
    (
        ("tools", "site/tools.html", ("home", "style"), ("site/index.html",)),
        ("visit", "site/visit.html", ("home", "style"), ()),
    ),
    (
        ("operations", "operations.md", ("desk", "store", "report"), ("shed/desk.py",)),
        ("check-site", None, ("home", "tools", "visit", "rules", "style"), ("site/visit.html",)),
    ),
    (("readme", "README.md", ("schema", "store", "lending", "desk", "report", "tests"), ()),),
    (("check-all", None, ("readme", "operations", "check-code", "check-site"), ("README.md",)),),
)
REVIEWS = {
    "check-rules": "The page says the same numbers as the schema. The tone is friendly.",
    "check-code": "The rules are complete. A loan of 28 days is granted without asking anybody.",
    "check-site": "All pages share header and footer. Should the form say who reads it?",
    "check-all": "The documents agree with the program. Nothing has to be changed.",
}


def artifacts() -> dict[str, str]:
    """The committed files by path."""
    found = sorted(path for path in ARTIFACTS.rglob("*") if path.is_file())
    return {path.relative_to(ARTIFACTS).as_posix(): path.read_text("utf-8") for path in found}


def goal(files: Sequence[str]) -> str:
    """The goal names each file with a line about it."""
    lines = [f"- `{file}` is part {number}" for number, file in enumerate(files, start=1)]
    return "Make the program and the web site of a shed that lends tools.\n" + "\n".join(lines)


def settings(window: int, turns: int, context: int = 262_144) -> Config:
    plans = {"pool": "p", "window_tokens": window, "sampling": {"max_tokens": 2_000}}
    pool = {"engine": "scripted", "model": "m", "replicas": [{}], "context_length": context}
    naughty = {"pool": "p", "mode": "output_file", "description": "writes files", "parallel": 2}
    grandpa = {"pool": "p", "description": "reviews and checks", "parallel": 1}
    return Config.model_validate(
        {
            "pools": {"p": pool},
            "aliases": {"orchestrator": plans, "naughty": naughty, "grandpa": grandpa},
            "orchestrator": {"rules_planner": False, "plan_tries": 1},
            "budgets": {"turns": turns},
            "api": {"auth": "none"},
        }
    )


class InlineBriefer(Briefer):
    """The straightforward harness: whatever depends on a text gets the text."""

    async def sources(self, call: CallState, state: RunState) -> list[Source | ArtifactRef]:
        texts: dict[str, str] = {}
        for name in call.planned.depends_on:
            before = state.calls[name]
            if before.text is not None:
                path = before.planned.output_file or name
                texts[path] = await self._texts.get(before.text.sha256)
        for path in call.planned.needs:
            ref = state.text_of(path)
            if ref is not None:
                texts[path] = await self._texts.get(ref.sha256)
        return [Source(name, text) for name, text in texts.items()]

    async def result(self, call: CallState, seen: EarlierCall) -> Result:
        result = await super().result(call, seen)
        if result.artifact is None or call.text is None:
            return result
        return InlineResult(seen, result.artifact, await self._texts.get(call.text.sha256))


class InlineResult(Result):
    """A result with its text in full."""

    @property
    def line(self) -> str:
        assert self.artifact is not None
        return f"- {self.call.id} ({self.call.alias}) made {self.artifact.path}:\n{self.answer}"


class Planned:
    """The scripted models: the plans above turn by turn, the committed files, fixed reviews."""

    def __init__(self, plans: Sequence[Sequence[Node]], texts: dict[str, str]) -> None:
        self._plans = plans
        self._texts = texts

    def __call__(self, call: CallState, brief: Brief) -> str | FailureClass:
        if call.kind == "plan":
            return self._plan(call.turn)
        if call.kind == "synthesis":
            return "The program and the site of the shed are there; begin with README.md."
        prompt = brief.messages[-1].content
        if any(self._texts[path] not in prompt for path in call.planned.needs):
            return FailureClass.OUTPUT_INVALID
        file = call.planned.output_file
        if file is not None:
            return self._texts[file]
        return REVIEWS.get(call.id, "It holds what was asked for. Nothing has to be changed.")

    def _plan(self, turn: int) -> str:
        calls: list[dict[str, Any]] = [
            {
                "id": name,
                "alias": "grandpa" if file is None else "naughty",
                "prompt": _task(file, needs),
                "depends_on": list(depends_on),
                "needs": list(needs),
            }
            | ({} if file is None else {"output_file": file})
            for name, file, depends_on, needs in self._plans[turn - 1]
        ]
        return json.dumps({"continue": turn < len(self._plans), "worker_calls": calls})


def _task(file: str | None, needs: Sequence[str]) -> str:
    if file is None:
        return f"Review {', '.join(needs) or 'the last change'}: does it hold what was asked for?"
    return f"Write {file} for the tool shed. Keep names and wording as they are in what you got."


def long_plans(turns: int, files: Sequence[str]) -> list[tuple[Node, ...]]:
    """A long session: in each turn a file is written, or written again, and the one before is
    reviewed."""
    plans: list[tuple[Node, ...]] = []
    for turn in range(1, turns + 1):
        file = files[(turn - 1) % len(files)]
        nodes: list[Node] = [(f"write-{turn}", file, (), ())]
        if turn > 1:
            before = files[(turn - 2) % len(files)]
            nodes.append((f"check-{turn}", None, (f"write-{turn - 1}",), (before,)))
        plans.append(tuple(nodes))
    return plans


def work(
    plans: Sequence[Sequence[Node]], window: int, briefer: type[Briefer] = Briefer
) -> InProcessRun:
    """A whole run, which must succeed with every file as it was committed."""
    texts = artifacts()
    run = InProcessRun(
        settings(window, turns=len(plans)),
        goal(list(texts)),
        Planned(plans, texts),
        make_briefer=briefer,
        load=PoolLoad({"naughty": 41.7, "grandpa": 41.7}, {"naughty": 1}, {}),
    )
    ended = run.run()
    if ended.outcome != "succeeded" or run.files() != texts:
        raise SystemExit(f"The run did not succeed: {ended.reason}")
    done = [call for call in run.state.calls.values() if call.kind == "worker"]
    if len(run.state.turns) != len(plans) or any(call.failures for call in done):
        raise SystemExit("The run did not go as planned; its figures would say nothing.")
    return run


def common(one: list[int], other: list[int]) -> int:
    """Length of the longest common prefix, by bisection over slices."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def cached(prompts: Sequence[list[int]], block: int = 1) -> float:
    """The share of all tokens that an earlier prompt began with, in whole blocks."""
    served = 0
    for at, prompt in enumerate(prompts):
        longest = max((common(prompt, earlier) for earlier in prompts[:at]), default=0)
        served += longest // block * block
    return served / sum(map(len, prompts))


def load_tokenizer(name: str) -> Tokens:
    """The model's own vocabulary and chat template, with the opening of the answer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_model(name), local_files_only=True)

    def tokens(messages: Sequence[Message]) -> list[int]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return tokens


def of_kind(run: InProcessRun, kind: str, tokens: Tokens) -> list[list[int]]:
    return [tokens(sent.brief.messages) for sent in run.sent if sent.kind == kind]


def total(sent: Sequence[Sent], tokens: Tokens) -> dict[str, int]:
    """Prompt tokens by kind of call."""
    sums = dict.fromkeys(("plan", "worker", "synthesis"), 0)
    for each in sent:
        sums[each.kind] += len(tokens(each.brief.messages))
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="embedded:smollm2", help="whose tokenizer")
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--window", type=int, default=44_000, help="of the orchestrator, tokens")
    options = parser.parse_args()
    tokens = load_tokenizer(options.model)
    texts = artifacts()
    size = sum(len(text.encode()) for text in texts.values())
    print(f"{len(texts)} artifacts, {size:,} bytes, {len(PLANS)} turns")
    ours = total(work(PLANS, options.window).sent, tokens)
    # Both variants fit into their windows, so that nothing is saved by leaving something out.
    inline = total(work(PLANS, 200_000, InlineBriefer).sent, tokens)
    for kind, count in ours.items():
        print(f"  {kind:9} {count:8,} by reference, {inline[kind]:8,} inline")
    ratio = sum(ours.values()) / sum(inline.values())
    print(f"prompt tokens {sum(ours.values()):,} over {sum(inline.values()):,}: {ratio:.3f}")
    plans = long_plans(options.turns, list(texts))
    long = work(plans, options.window)
    prompts = of_kind(long, "plan", tokens)
    share, blocks = cached(prompts), cached(prompts, BLOCK)
    rolling = work(plans, 8_000)
    rolled = cached(of_kind(rolling, "plan", tokens))
    compactions = sum(sent.brief.compaction is not None for sent in rolling.sent)
    workers = cached(of_kind(long, "worker", tokens))
    print(
        f"over {options.turns} turns, the orchestrator's prompts: {sum(map(len, prompts)):,} tokens"
    )
    print(f"  a prefix cache could serve {share:.4f} (in blocks of {BLOCK}: {blocks:.4f})")
    print(f"  in a window of 8,000 tokens, with {compactions} compactions: {rolled:.4f}")
    print(f"  workers' prompts, which are new by nature: {workers:.4f}")
    report(
        "context",
        value=ratio,
        unit="prompt tokens by reference over inline",
        goal=f"<= {RATIO_GOAL}, and prefix share over {options.turns} turns >= {SHARE_GOAL}",
        peers={"inline": 1.0},
        settings={
            "tokenizer": options.model,
            "tokens": ours,
            "inline_tokens": inline,
            "prefix_share": round(share, 4),
            "prefix_share_blocks_of_16": round(blocks, 4),
            "prefix_share_window_8000": round(rolled, 4),
            "prefix_share_workers": round(workers, 4),
            "met": ratio <= RATIO_GOAL and share >= SHARE_GOAL,
            "window": options.window,
            "turns": options.turns,
        },
    )


if __name__ == "__main__":
    main()
