"""The knowledge of a turn's planner: the roles, the files still missing, the calls so far.

Prompt, schema, lint and rules planner are all built from this one value, so they cannot disagree
about what a valid plan is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from familiar.acting_path import acts_by_name
from familiar.config.schema import AliasConfig, Config
from familiar.errors import FailureClass
from familiar.event import PlannedCall
from familiar.goal import Goal

CONTRACT_FILE = "contract.html"
"""The reserved output_file of the call that writes the shared parts."""

MAX_COMPARED = 8
"""Failed plans, and rejected ones, that a new plan is compared with: the newest, so that the cost
of a turn does not grow with the run."""


@dataclass(frozen=True, slots=True)
class Role:
    alias: str
    description: str
    mode: str
    parallel: int
    deadline_s: float
    context_length: int
    max_tokens: int
    queue_deadline_s: float = 600.0
    slots: int = 4096
    """Calls that the role's pool carries at once, over all its replicas."""

    @property
    def at_once(self) -> int:
        """Calls of this role that can run side by side."""
        return min(self.parallel, self.slots)


@dataclass(frozen=True, slots=True)
class PoolState:
    """The part of a deployment that an orchestrator is told once. Only the configuration decides
    it, so the system prompt made from it stays the same, byte for byte. `wire` is how the
    orchestrator writes its plans; `shares_parts` says that pages are made under a contract."""

    roles: tuple[Role, ...]
    shares_parts: bool
    generator: str
    reviewer: str | None
    wire: str = "json"


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """The part that moves, at one moment, by alias: it stands in the newest message of a plan call
    only. `rates` are the tokens/s that one call usually gets; an alias whose pool has not been
    measured yet is absent. `running` and `waiting` count calls of all runs."""

    rates: Mapping[str, float] = field(default_factory=dict)
    running: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)


NO_LOAD = PoolLoad()
"""Nothing measured, nothing busy."""


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """A call of an earlier turn, with its file or its failure. `advice` says how a call that was
    too large has to be split."""

    id: str
    alias: str
    status: str
    output_file: str | None
    failure: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class FailedPlan:
    """A plan of this run that failed. `reasons` says why, by id of the call that was given up;
    `to_blame` are the ones among them that failed by what they asked for, `failure` is of the last
    one."""

    turn: int
    calls: tuple[PlannedCall, ...]
    reasons: Mapping[str, str]
    to_blame: frozenset[str] = frozenset()
    failure: FailureClass | None = None


@dataclass(frozen=True, slots=True)
class TurnView:
    """One turn as its planner sees it. `load` is what was measured when it was looked at; `notices`
    are sentences about budgets that the planner should know of."""

    turn: int
    goal: Goal
    roles: tuple[Role, ...]
    missing: tuple[str, ...]
    made: tuple[str, ...]
    earlier: tuple[EarlierCall, ...]
    shares_parts: bool
    generator: str
    reviewer: str | None
    max_calls: int
    load: PoolLoad = NO_LOAD
    notices: tuple[str, ...] = ()
    failed_plans: tuple[FailedPlan, ...] = ()
    rejected_plans: tuple[str, ...] = ()
    """Fingerprints of plans of this run that were rejected, newest last."""
    acting_files: tuple[str, ...] | None = None
    """Patterns of files that a plan may write although they act by their name; None for all."""
    doubted: frozenset[str] = frozenset()
    """Keys of the calls that a guessed length has questioned in this run; each only once."""

    @property
    def rates(self) -> Mapping[str, float]:
        """Tokens/s that one call usually gets, by alias; absent when not measured yet."""
        return self.load.rates

    @property
    def contract_is_due(self) -> bool:
        """Several pages have to be made under one contract, and there is none yet."""
        pages = [name for name in self.missing if name in self.goal.pages]
        return (
            self.shares_parts and CONTRACT_FILE not in self.made and len(self.goal.pages) > 1
        ) and bool(pages)

    def is_page(self, file: str) -> bool:
        return self.shares_parts and file.endswith((".html", ".htm")) and file != CONTRACT_FILE

    def may_write(self, file: str) -> bool:
        """Whether a file that acts by its name may be written: the goal or the configuration names
        it. All others may."""
        return (
            self.acting_files is None
            or not acts_by_name(file)
            or file in self.goal.files
            or any(fnmatchcase(file, pattern) for pattern in self.acting_files)
        )

    @property
    def taken_ids(self) -> frozenset[str]:
        return frozenset(call.id for call in self.earlier)


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


def roles_of(config: Config) -> tuple[Role, ...]:
    return tuple(
        _role(name, alias, config)
        for name, alias in config.aliases.items()
        if alias.enabled and name != config.orchestrator.alias
    )


def _role(name: str, alias: AliasConfig, config: Config) -> Role:
    pool = config.pools[alias.pool]
    return Role(
        alias=name,
        description=alias.description,
        mode=alias.mode,
        parallel=alias.parallel,
        deadline_s=alias.deadline_s,
        context_length=pool.context_length,
        max_tokens=alias.sampling.max_tokens,
        queue_deadline_s=alias.queue_deadline_s,
        slots=pool.slots * len(pool.replicas),
    )
