"""Views of a turn, for the tests of planning."""

from __future__ import annotations

from familiar.goal import Goal
from familiar.plan.view import EarlierCall, Role, TurnView

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
) -> TurnView:
    roles = tuple(
        Role(name, f"the {name}", mode, 2, 300.0, 4096, 512)
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
    )
