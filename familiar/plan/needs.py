"""Texts that a plan asks to be handed on in full (`needs`): which can be, and what waits for whom.

A file that is there already can be handed on at once. One that the plan itself writes is there when
its writer has ended, so the reader has to depend on the writer, directly or through others; saying
so is a safe repair.
"""

from __future__ import annotations

from collections.abc import Iterator

from familiar.event import PlannedCall, Problem
from familiar.plan.dag import dag
from familiar.plan.view import TurnView


def wait_for_needs(
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


def unknown_needs(calls: tuple[PlannedCall, ...], view: TurnView) -> Iterator[Problem]:
    """Files in `needs` that no call and no earlier turn makes."""
    there = {*view.made, *(call.output_file for call in calls)}
    for call in calls:
        for path in dict.fromkeys(call.needs):
            if path == call.output_file and path not in view.made:
                yield Problem(
                    code="unknown_need",
                    call=call.id,
                    message=f"{call.id} needs {path}, which it is to write itself.",
                )
            elif path not in there:
                yield Problem(
                    code="unknown_need",
                    call=call.id,
                    message=f"{call.id} needs {path!r}, which is neither there nor written by a "
                    "call of this plan.",
                )
