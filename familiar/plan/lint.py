"""The plan lint: find plans that must not run before they cost GPU time.

Each rule has a stable code and answers with sentences that the next prompt carries. A safe repair
(one that cannot change what the plan means to do) is made and recorded instead; a valid plan passes
unchanged.

| code | rejected because |
|---|---|
| unknown_alias | a role that is not offered |
| duplicate_id | two calls with one id, or an id of an earlier turn |
| bad_id | an id that cannot be a name, or one the harness uses itself |
| unknown_dependency | `depends_on` names no call |
| self_dependency, dependency_cycle | the calls wait for themselves |
| path_escape | an output_file outside the workspace, or inside the harness's folders |
| acting_path | an output_file on which programs act by its name, and that the goal does not name |
| path_blocked | an output_file that the workspace cannot take (`judge.reject_paths`) |
| path_collision | two calls write one file, or one writes a file where another needs a folder |
| unknown_need | `needs` names a file that is neither there nor written by this plan |
| contract_missing | pages that share parts, without the call that writes them first |
| empty_prompt | a call that says nothing |
| no_progress | files are missing and the plan makes none of them, or it has no calls to make |
| too_many_calls | more calls than a turn may have |
| oversized | a call that cannot be written within its tokens, its context or its deadline |
| too_wide | more calls at once than the role carries within its queue deadline |
| plan_repeated | a plan, or a call, equal or nearly equal to one that failed |

`README.md` beside this file has a section on each: what, why, an example, what to do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from familiar.event import PlannedCall, Problem
from familiar.path import planned_path_problem
from familiar.plan.capacity import Finding, capacity_findings
from familiar.plan.dag import Dag, dag
from familiar.plan.read import ReadPlan
from familiar.plan.repair import repaired
from familiar.plan.repeat import rejected_again, repeat_findings
from familiar.plan.schema import ID_PATTERN
from familiar.plan.view import CONTRACT_FILE, TurnView

_ID = re.compile(rf"{ID_PATTERN}\Z")
_HARNESS_ID = re.compile(r"(?:plan|synthesis)-\d")


@dataclass(frozen=True, slots=True)
class Linted:
    """The plan as it may run, with its repairs; or the problems, and nothing runs."""

    calls: tuple[PlannedCall, ...]
    repairs: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    doubted: tuple[str, ...] = ()
    """Keys of the calls that a guess questions now, for `TurnView.doubted` of the next attempt."""


def lint(plan: ReadPlan, view: TurnView) -> Linted:
    """Apply every rule. `problems` is empty exactly when the plan may run."""
    calls, repairs = repaired(plan.calls, view)
    problems = tuple(_problems(plan, calls, view))
    # A plan over its number of calls is not looked at further.
    findings: tuple[Finding, ...] = ()
    if len(calls) <= view.max_calls:
        findings = (*repeat_findings(calls, view), *capacity_findings(calls, view))
    problems += tuple(finding.problem for finding in findings if not finding.settled)
    repairs += tuple(finding.as_doubt() for finding in findings if finding.settled)
    doubted = tuple(key for finding in findings for key in finding.doubts)
    again = rejected_again(calls, view) if problems else None
    if again is not None and all(problem.code != again.code for problem in problems):
        problems = (again, *problems)
    return Linted(calls=calls, repairs=repairs, problems=problems, doubted=doubted)


def _problems(plan: ReadPlan, calls: tuple[PlannedCall, ...], view: TurnView) -> Iterator[Problem]:
    if len(calls) > view.max_calls:
        yield Problem(
            code="too_many_calls",
            message=f"The plan has {len(calls)} calls; a turn may have {view.max_calls}.",
        )
        return
    yield from _identity(calls, view)
    yield from _dependencies(calls, view)
    yield from _paths(calls, view)
    yield from _needs(calls, view)
    yield from _progress(plan, calls, view)


def _identity(calls: tuple[PlannedCall, ...], view: TurnView) -> Iterator[Problem]:
    roles = {role.alias for role in view.roles}
    for name, count in Counter(call.id for call in calls).items():
        if count > 1 or name in view.taken_ids:
            where = f"{count} times" if count > 1 else "again; an earlier turn has this id"
            yield Problem(code="duplicate_id", call=name, message=f"The id {name} is used {where}.")
    for call in calls:
        if not _ID.match(call.id) or _HARNESS_ID.match(call.id):
            yield Problem(
                code="bad_id",
                call=call.id,
                message=f"The id {call.id!r} must match {ID_PATTERN} and not start with plan- or "
                "synthesis- and a digit.",
            )
        if call.alias not in roles:
            yield Problem(
                code="unknown_alias",
                call=call.id,
                message=f"{call.id} names the role {call.alias!r}; the roles are "
                f"{', '.join(sorted(roles))}.",
            )
        if not call.prompt.strip():
            yield Problem(
                code="empty_prompt", call=call.id, message=f"{call.id} has an empty prompt."
            )


def _dependencies(calls: tuple[PlannedCall, ...], view: TurnView) -> Iterator[Problem]:
    ids = {call.id for call in calls}
    for call in calls:
        if call.id in call.depends_on:
            yield Problem(
                code="self_dependency", call=call.id, message=f"{call.id} depends on itself."
            )
        for name in call.depends_on:
            if name not in ids and name not in view.taken_ids:
                yield Problem(
                    code="unknown_dependency",
                    call=call.id,
                    message=f"{call.id} depends on {name!r}, which is not a call.",
                )
    graph = dag(calls)
    if graph.stuck:
        yield Problem(
            code="dependency_cycle",
            message=_say_cycle(graph),
        )


def _say_cycle(graph: Dag) -> str:
    members = sorted({*graph.cycle})
    behind = sorted(graph.stuck.difference(members))
    waits = f" {', '.join(behind)} cannot run until it is broken." if behind else ""
    return f"These calls wait for each other in a cycle: {', '.join(members)}.{waits}"


def _paths(calls: tuple[PlannedCall, ...], view: TurnView) -> Iterator[Problem]:
    writers: dict[str, list[str]] = {}
    for call in calls:
        if call.output_file is None:
            continue
        why = planned_path_problem(call.output_file)
        if why is not None:
            yield Problem(
                code="path_escape",
                call=call.id,
                message=f"{call.id} cannot write {call.output_file!r}: {why}.",
            )
        elif not view.may_write(call.output_file):
            yield Problem(
                code="acting_path",
                call=call.id,
                message=f"{call.id} cannot write {call.output_file}: programs act on a file of "
                "this name, and the goal does not name it.",
            )
        writers.setdefault(call.output_file, []).append(call.id)
    for path, names in writers.items():
        if len(names) > 1:
            yield Problem(
                code="path_collision",
                message=f"{' and '.join(names)} write the same file {path}; one call, one file.",
            )
        parts = path.split("/")
        for folder in ("/".join(parts[:end]) for end in range(1, len(parts))):
            if folder in writers:
                yield Problem(
                    code="path_collision",
                    call=names[0],
                    message=f"{names[0]} writes {path}, but {writers[folder][0]} writes a file "
                    f"{folder}, which cannot be a folder as well.",
                )
                break
    pages = [path for path in writers if view.is_page(path)]
    none_yet = CONTRACT_FILE not in writers and CONTRACT_FILE not in view.made
    if pages and none_yet and (view.contract_is_due or len(pages) > 1):
        yield Problem(
            code="contract_missing",
            message=f"{', '.join(pages)} share header, navigation and footer: add a first call "
            f"with output_file {CONTRACT_FILE} that the pages depend on.",
        )


def _progress(plan: ReadPlan, calls: tuple[PlannedCall, ...], view: TurnView) -> Iterator[Problem]:
    written = {call.output_file for call in calls}
    useful = written & {*view.missing, CONTRACT_FILE}
    if view.missing and not useful:
        yield Problem(
            code="no_progress",
            message=f"These files are missing and no call writes one: {', '.join(view.missing)}.",
        )
    elif view.missing and not plan.continue_ and (left := set(view.missing) - written):
        yield Problem(
            code="no_progress",
            message=f"The plan says it is the last and leaves out {', '.join(sorted(left))}.",
        )
    elif not calls and (plan.continue_ or not view.earlier):
        yield Problem(code="no_progress", message="The plan has no calls and the goal is not met.")


def _needs(calls: tuple[PlannedCall, ...], view: TurnView) -> Iterator[Problem]:
    """Files in `needs` that no call and no earlier turn makes."""
    there = {*view.made, *(call.output_file for call in calls)}
    for call in calls:
        for path in dict.fromkeys(call.needs):
            if path == call.output_file and path not in view.made:
                yield Problem(
                    code="unknown_need",
                    call=call.id,
                    message=f"{call.id} needs {path}, which it must write itself.",
                )
            elif path not in there:
                yield Problem(
                    code="unknown_need",
                    call=call.id,
                    message=f"{call.id} needs {path!r}, which is neither there nor written by a "
                    "call of this plan.",
                )
