"""The rules planner: what is planned when the model cannot plan.

Contract first: one call writes the shared parts, the pages depend on it and run side by side, other
files beside them, and a review closes the turn. It plans only what is missing, so it can take over
in any turn. A prompt says what the goal says about the file; nothing is invented.
"""

from __future__ import annotations

from familiar.event import PlanAccepted, PlannedCall
from familiar.plan.view import CONTRACT_FILE, TurnView

_ABOUT_LIMIT = 1_500


def plan_by_rules(view: TurnView, reason: str) -> PlanAccepted:
    """A valid plan for the turn. For a goal without files it is one call that answers the goal."""
    suffix = "" if view.turn == 1 else f"-t{view.turn}"
    calls: list[PlannedCall] = []
    shared: tuple[str, ...] = ()
    if view.contract_is_due:
        shared = (f"contract{suffix}",)
        calls.append(
            PlannedCall(
                id=shared[0],
                alias=view.generator,
                prompt="Write what all pages share: the name of the site, its tagline and footer.",
                output_file=CONTRACT_FILE,
            )
        )
    taken = {call.id for call in calls} | view.taken_ids
    for file in view.missing:
        name = _id_for(file, suffix, taken)
        taken.add(name)
        calls.append(
            PlannedCall(
                id=name,
                alias=view.generator,
                prompt=_prompt(file, view),
                depends_on=shared,
                output_file=file,
            )
        )
    if not view.missing:
        calls.append(
            PlannedCall(id=f"answer{suffix}", alias=view.generator, prompt="Answer the goal.")
        )
    elif view.reviewer is not None:
        files = [call for call in calls if call.output_file != CONTRACT_FILE]
        calls.append(
            PlannedCall(
                id=f"review{suffix}",
                alias=view.reviewer,
                prompt="Review these files against the goal: "
                + ", ".join(call.output_file or "" for call in files),
                depends_on=tuple(call.id for call in files),
                needs=tuple(call.output_file or "" for call in files),
            )
        )
    return PlanAccepted(
        turn=view.turn, planner="rules", continue_=False, calls=tuple(calls), reason=reason
    )


def _prompt(file: str, view: TurnView) -> str:
    about = view.goal.about(file)[:_ABOUT_LIMIT].strip()
    failed = [c for c in view.earlier if c.output_file == file and c.failure]
    lines = [f"Write {file}."]
    if about:
        lines.append(about)
    if failed:
        lines.append(f"An earlier try failed ({failed[-1].failure}). Keep this one short.")
    return "\n".join(lines)


def _id_for(file: str, suffix: str, taken: set[str]) -> str:
    stem = "".join(c if c.isalnum() else "-" for c in file.rsplit(".", 1)[0].lower()).strip("-")
    base = (stem if stem[:1].isalpha() else f"f-{stem}")[:16].rstrip("-")
    name, number = base + suffix, 2
    while name in taken:
        name, number = f"{base}-{number}{suffix}", number + 1
    return name
