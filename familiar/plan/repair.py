"""Safe repairs of a plan: dependencies that the plan forgot, which cannot change its meaning.

A page waits for the call that writes the contract, and a call waits for the writers of the files
that it needs: directly, or through others. A file that is there already is handed on at once.
"""

from __future__ import annotations

from familiar.event import PlannedCall, Problem
from familiar.plan.dag import dag
from familiar.plan.view import CONTRACT_FILE, TurnView


def repaired(
    calls: tuple[PlannedCall, ...], view: TurnView
) -> tuple[tuple[PlannedCall, ...], tuple[Problem, ...]]:
    """A page of a plan that writes the contract depends on it, and a call on the writers of what it
    needs; saying so is a safe repair."""
    calls, needed = _wait_for_needs(calls)
    writer = next((call for call in calls if call.output_file == CONTRACT_FILE), None)
    if writer is None or not view.shares_parts:
        return calls, needed
    repaired: list[PlannedCall] = []
    repairs: list[Problem] = [*needed]
    for call in calls:
        page = call.output_file is not None and view.is_page(call.output_file)
        if not page or call is writer or writer.id in call.depends_on:
            repaired.append(call)
        else:
            repaired.append(call.model_copy(update={"depends_on": (writer.id, *call.depends_on)}))
            repairs.append(
                Problem(
                    code="contract_dependency",
                    call=call.id,
                    message=f"{call.id} writes a page and now waits for the contract "
                    f"that {writer.id} writes.",
                )
            )
    return tuple(repaired), tuple(repairs)


def _wait_for_needs(
    calls: tuple[PlannedCall, ...],
) -> tuple[tuple[PlannedCall, ...], tuple[Problem, ...]]:
    """The calls, each dependent on the calls that write what it needs; and what was added."""
    writers = {call.output_file: call.id for call in calls if call.output_file is not None}
    graph = dag(calls)
    repaired: list[PlannedCall] = []
    repairs: list[Problem] = []
    for call in calls:
        wanted = dict.fromkeys(writers[path] for path in call.needs if path in writers)
        before = graph.ancestors(call.id) if wanted else frozenset()
        added = tuple(name for name in wanted if name != call.id and name not in before)
        if added:
            repairs.append(
                Problem(
                    code="need_dependency",
                    call=call.id,
                    message=f"{call.id} needs a file of {', '.join(added)} and now waits for it.",
                )
            )
        depends_on = (*call.depends_on, *added)
        repaired.append(call.model_copy(update={"depends_on": depends_on}) if added else call)
    return tuple(repaired), tuple(repairs)
