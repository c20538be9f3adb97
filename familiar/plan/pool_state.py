"""What of a deployment an orchestrator is told once: a value that only the configuration decides.

Nothing that moves is in it, so the system prompt that is built from it stays the same, byte for
byte, for as long as the configuration does. What moves is `familiar.plan.load`.
"""

from __future__ import annotations

from dataclasses import dataclass

from familiar.config.schema import Config
from familiar.plan.view import Role, roles_of


@dataclass(frozen=True, slots=True)
class PoolState:
    """`wire` is how the orchestrator writes its plans; `shares_parts` says that pages are made
    under a contract."""

    roles: tuple[Role, ...]
    shares_parts: bool
    generator: str
    reviewer: str | None
    wire: str = "json"


def pool_state(config: Config) -> PoolState:
    """The state of `config`'s pools as its orchestrator sees it."""
    planning, roles = config.orchestrator, roles_of(config)
    writers = [role.alias for role in roles if role.mode == "output_file"]
    readers = [role.alias for role in roles if role.mode == "text" and role.alias != "translator"]
    named = [role.alias for role in roles]
    return PoolState(
        roles=roles,
        shares_parts=config.contract.kind == "html-page",
        generator=planning.generator or (writers or named or [planning.alias])[0],
        reviewer=planning.reviewer if planning.reviewer in named else next(iter(readers), None),
        wire=config.aliases[planning.alias].wire,
    )
