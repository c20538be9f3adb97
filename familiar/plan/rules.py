"""The rules planner: the plan of a turn for which the model has no valid plan.

Contract first: one call writes the shared parts, the pages depend on it and run side by side, other
files beside them, and a review closes the turn. It plans only what is missing, so it can take over
in any turn. A prompt says what the goal says about the file; nothing is invented. What failed is
asked again for half the length each time, until less makes no sense: then the plan would be one
that failed, and the run ends instead.
"""

from __future__ import annotations

from familiar.errors import FailureClass
from familiar.event import PlanAccepted, PlannedCall, RunEnded
from familiar.failure import blamed_on
from familiar.plan.estimate import words_in
from familiar.plan.repeat import repeats_exactly
from familiar.plan.view import CONTRACT_FILE, Role, TurnView

_ABOUT_LIMIT = 1_500
_FEWEST_WORDS = 20


def decide_by_rules(view: TurnView, reason: str) -> PlanAccepted | RunEnded:
    """The plan for the turn; the end of the run where that plan has failed already."""
    plan = plan_by_rules(view, reason)
    failed = repeats_exactly(plan.calls, view)
    if failed is None:
        return plan
    backend = failed.failure in blamed_on("backend")
    causes = "; ".join(f"call {name} failed: {why}" for name, why in failed.reasons.items())
    return RunEnded(
        outcome="failed",
        reason=f"turn {view.turn} has no plan that did not fail already ({reason}); "
        f"the plan of turn {failed.turn} failed: {causes[:1_000]}",
        failure_class=failed.failure if backend else FailureClass.PLAN_REPEATED,
    )


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
                prompt="\n".join(
                    [
                        "Write what all pages share: the name of the site, its tagline and footer.",
                        *_shorter(CONTRACT_FILE, view),
                    ]
                ),
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
            PlannedCall(
                id=f"answer{suffix}",
                alias=view.generator,
                prompt="\n".join(["Answer the goal.", *_shorter(None, view)]),
            )
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
    lines = [f"Write {file}."]
    if about:
        lines.append(about)
    return "\n".join([*lines, *_shorter(file, view)])


def _shorter(file: str | None, view: TurnView) -> list[str]:
    """Lines for the prompt after failed attempts: the reason, and half as many words for each."""
    failed = [
        c
        for c in view.earlier
        if c.output_file == file and c.failure and (file or c.alias == view.generator)
    ]
    if not failed:
        return []
    role = next((role for role in view.roles if role.alias == view.generator), None)
    words = max(_FEWEST_WORDS, _room(role, file, view) >> len(failed))
    failure = failed[-1].failure
    return [f"An earlier attempt failed ({failure}). Keep this one short: at most {words} words."]


def _room(role: Role | None, file: str | None, view: TurnView) -> int:
    """Words that one call of the role can write, by its cut and by its deadline."""
    if role is None:
        return 0
    rate = view.rates.get(role.alias)
    tokens = role.max_tokens if not rate else min(role.max_tokens, rate * role.deadline_s)
    return words_in(tokens, file)


def _id_for(file: str, suffix: str, taken: set[str]) -> str:
    stem = "".join(c if c.isalnum() else "-" for c in file.rsplit(".", 1)[0].lower()).strip("-")
    base = (stem if stem[:1].isalpha() else f"f-{stem}")[:16].rstrip("-")
    name, number = base + suffix, 2
    while name in taken:
        name, number = f"{base}-{number}{suffix}", number + 1
    return name
