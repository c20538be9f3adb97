"""Views of a turn, for the tests of planning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from familiar.goal import Goal
from familiar.plan.view import EarlierCall, FailedPlan, PoolLoad, Role, TurnView

FILES = ("index.html", "about.html", "README.md")


def view(
    *,
    files: tuple[str, ...] = FILES,
    missing: tuple[str, ...] | None = None,
    made: tuple[str, ...] = (),
    earlier: tuple[EarlierCall, ...] = (),
    shares_parts: bool = True,
    turn: int = 1,
    max_calls: int = 8,
    reviewer: str | None = "grandpa",
    rates: Mapping[str, float] | None = None,
    failed_plans: tuple[FailedPlan, ...] = (),
    rejected_plans: tuple[str, ...] = (),
    doubted: tuple[str, ...] = (),
    role: Mapping[str, float | int] | None = None,
) -> TurnView:
    """`role` changes fields of both roles."""
    roles = tuple(
        replace(Role(name, f"the {name}", mode, 2, 300.0, 4096, 512), **(role or {}))  # type: ignore[arg-type]
        for name, mode in (("naughty", "output_file"), ("grandpa", "text"))
    )
    text = "Make a site.\n" + "\n".join(f"- `{name}`: about {name}" for name in files)
    return TurnView(
        turn=turn,
        goal=Goal(text=text, files=files),
        roles=roles,
        missing=files if missing is None else missing,
        made=made,
        earlier=earlier,
        shares_parts=shares_parts,
        generator="naughty",
        reviewer=reviewer,
        max_calls=max_calls,
        load=PoolLoad(rates=rates or {}),
        failed_plans=failed_plans,
        rejected_plans=rejected_plans,
        doubted=frozenset(doubted),
    )
