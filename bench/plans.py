"""How well the judge tells sound plans from faulty ones, on plans that 7B and 13B models wrote.

Reads `../shared/anchors/plans/` (beside the repository): 1,971 plans of TaskBench's tasks. Each is
read as a plan of ours: a node's tool is its alias, links are `depends_on`; ids stand for tools in
the order of their first mention, and all prompts are made the same way. What is faulty is counted
here by sets and a walk of its own, without the judge: a tool that does not exist, a link to a tool
that the plan does not use, one tool twice (then a link cannot say which is meant), a cycle, a plan
that is no list of nodes and links.

Judged rightly is a faulty plan that is rejected with one of its own faults as the first code, or
repaired with the repair on the record, and a sound plan that is accepted unchanged. Compared are
two judges that a harness may have instead: a schema alone (types and the list of tools), and a
topological sort alone. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.report import report  # noqa: E402
from familiar.event import PlanAccepted, PlanRejected  # noqa: E402
from familiar.goal import Goal  # noqa: E402
from familiar.plan.judge import judge_plan  # noqa: E402
from familiar.plan.view import Role, TurnView  # noqa: E402

PLANS = ROOT.parent / "shared" / "anchors" / "plans"
CODES = {
    "malformed": frozenset({"plan_malformed", "wire_malformed", "wire_missing", "wire_shape"}),
    "unknown tool": frozenset({"unknown_alias"}),
    "duplicate id": frozenset({"duplicate_id"}),
    "dangling edge": frozenset({"unknown_dependency"}),
    "cycle": frozenset({"dependency_cycle", "self_dependency"}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One plan: the answer that carries it, the tools, and its faults by our own count."""

    name: str
    answer: str
    tools: tuple[str, ...]
    faults: frozenset[str]
    nodes: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Score:
    """How many were judged rightly, and what was not."""

    right: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    caught: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def load() -> list[Case]:
    """Every plan of every model and domain."""
    found: list[Case] = []
    for file in sorted(PLANS.glob("taskbench_pred_*.jsonl.gz")):
        domain = file.name.split("_")[2]
        with gzip.open(PLANS / f"taskbench_{domain}_graph_desc.json.gz", "rt") as stream:
            tools = tuple(node["id"] for node in json.load(stream)["nodes"])
        with gzip.open(file, "rt") as stream:
            found.extend(
                case_of(json.loads(line), tools, file.stem) for line in stream if line.strip()
            )
    return found


def case_of(row: dict[str, Any], tools: tuple[str, ...], source: str) -> Case:
    """One row as a plan. A row without lists of nodes and links is passed on as it is."""
    name = f"{source} {row.get('id')}"
    pair = _names(row)
    if pair is None:
        answer = json.dumps({"continue": False, "worker_calls": row.get("task_nodes")})
        return Case(name, answer, tools, frozenset({"malformed"}))
    nodes, links = pair
    mentioned = dict.fromkeys([*nodes, *(end for link in links for end in link)])
    ids = {tool: f"n{number}" for number, tool in enumerate(mentioned, 1)}
    waits: dict[str, list[str]] = {tool: [] for tool in mentioned}
    for source, target in links:
        # A link with one end only stands at the end that is there, so that none is lost.
        at = target if target in nodes else source if source in nodes else nodes[0]
        waits[at].append(ids[source if at == target else target])
    calls = [
        {
            "id": ids[tool],
            "alias": tool,
            "depends_on": waits[tool],
            "prompt": "Do this step of the request with the results of the steps before it.",
        }
        for tool in nodes
    ]
    answer = json.dumps({"continue": False, "worker_calls": calls})
    return Case(name, answer, tools, faults_of(nodes, links, tools), nodes, links)


def _names(row: dict[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]] | None:
    nodes, links = row.get("task_nodes"), row.get("task_links", [])
    try:
        names = tuple(node["task"] for node in nodes or ())
        ends = tuple((link["source"], link["target"]) for link in links or ())
    except (TypeError, KeyError):
        return None
    if not names or not all(
        isinstance(n, str) for n in [*names, *(e for pair in ends for e in pair)]
    ):
        return None
    return names, ends


def faults_of(
    nodes: tuple[str, ...], links: tuple[tuple[str, str], ...], tools: tuple[str, ...]
) -> frozenset[str]:
    """The faults of a plan, by sets and one topological sort."""
    used = set(nodes)
    found = {
        "unknown tool": bool(used - set(tools)),
        "duplicate id": len(used) < len(nodes),
        "dangling edge": any(end not in used for link in links for end in link),
        "cycle": _cyclic(links, used),
    }
    return frozenset(name for name, present in found.items() if present)


def _cyclic(links: tuple[tuple[str, str], ...], used: set[str]) -> bool:
    graph: dict[str, set[str]] = {}
    for source, target in links:
        if source in used and target in used:
            graph.setdefault(target, set()).add(source)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


def view_of(tools: tuple[str, ...]) -> TurnView:
    """A turn whose roles are the tools and whose goal names no file."""
    return TurnView(
        turn=1,
        goal=Goal(text="Answer the request.", files=()),
        roles=tuple(Role(tool, "a tool", "text", 64, 600.0, 32_768, 1_024) for tool in tools),
        missing=(),
        made=(),
        earlier=(),
        shares_parts=False,
        generator=tools[0],
        reviewer=None,
        max_calls=128,
    )


def judged_rightly(case: Case, judged: PlanAccepted | PlanRejected) -> bool:
    """Whether the judge said what stands in the counted faults."""
    if isinstance(judged, PlanAccepted):
        return bool(case.faults) == bool(judged.repairs)
    return judged.problems[0].code in frozenset().union(*(CODES[name] for name in case.faults))


def score(cases: list[Case]) -> Score:
    """Judge every plan."""
    result = Score()
    views = {case.tools: view_of(case.tools) for case in cases}
    for case in cases:
        judged = judge_plan(case.answer, views[case.tools], 1)
        right = judged_rightly(case, judged)
        result.right += right
        result.faults.update(case.faults)
        if right:
            result.caught.update(case.faults)
        else:
            codes = [problem.code for problem in getattr(judged, "problems", ())]
            result.wrong.append(f"{case.name}: {sorted(case.faults)} judged {codes or 'accepted'}")
    return result


def peers(cases: list[Case]) -> dict[str, float]:
    """The share that a schema alone, and a topological sort alone, would tell rightly."""
    schema = sum(
        bool({"malformed", "unknown tool"} & case.faults) == bool(case.faults) for case in cases
    )
    order = sum(bool({"malformed", "cycle"} & case.faults) == bool(case.faults) for case in cases)
    return {
        "schema with the list of tools": schema / len(cases),
        "topological sort": order / len(cases),
    }


def main() -> None:
    """Judge, print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if not PLANS.is_dir():
        print(f"skipped: the recorded plans are not at {PLANS}")
        print(json.dumps({"bench": "plans", "value": None, "unit": "share judged rightly"}))
        return
    cases = load()
    result = score(cases)
    faulty = sum(bool(case.faults) for case in cases)
    for line in result.wrong[:20]:
        print(f"wrong: {line}")
    print(f"\n{'fault':<16}{'plans':>8}{'rightly':>9}")
    for name in CODES:
        print(f"{name:<16}{result.faults[name]:>8}{result.caught[name]:>9}")
    print(f"\n{len(cases)} plans, {faulty} faulty; judged rightly {result.right}")
    report(
        "plans",
        value=result.right / len(cases),
        unit="share of plans judged rightly",
        goal="1.0",
        peers=peers(cases),
        settings={
            "plans": len(cases),
            "faulty": faulty,
            "faults": {name: result.faults[name] for name in CODES},
            "wrong": len(result.wrong),
        },
    )


if __name__ == "__main__":
    main()
