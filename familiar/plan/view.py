"""What a turn's planner may know: the roles, the files still missing, the calls so far.

Prompt, schema, lint and rules planner are all built from this one value, so they cannot disagree
about what a valid plan is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from familiar.config.schema import AliasConfig, Config
from familiar.errors import FailureClass
from familiar.event import PlannedCall
from familiar.failure import FAILURES
from familiar.goal import Goal
from familiar.plan.load import NO_LOAD, PoolLoad
from familiar.run.budget import notice
from familiar.run.state import CallState, CallStatus, RunState, TurnState

CONTRACT_FILE = "contract.html"
"""The reserved output_file of the call that writes the shared parts."""

MAX_COMPARED = 8
"""Failed plans, and refused ones, that a new plan is compared with: the newest, so that the cost of
a turn does not grow with the run."""


@dataclass(frozen=True, slots=True)
class Role:
    """An alias that a plan may name."""

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
class EarlierCall:
    """A call of an earlier turn: what it made, or why it failed. `advice` says how a call that was
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
    refused: tuple[str, ...] = ()
    """Fingerprints of plans of this run that were rejected, newest last."""
    doubted: frozenset[str] = frozenset()
    """What a guessed length has questioned in this run; a guess questions it only once."""

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

    @property
    def taken_ids(self) -> frozenset[str]:
        return frozenset(call.id for call in self.earlier)


def view_turn(config: Config, state: RunState, goal: Goal, load: PoolLoad = NO_LOAD) -> TurnView:
    """The view of the current turn of `state`."""
    return TurnView(
        turn=state.turn.number,
        goal=goal,
        roles=roles_of(config),
        missing=state.missing,
        made=tuple(sorted({*state.files, *state.inherited})),
        earlier=tuple(_earlier(call) for call in state.calls.values() if call.kind == "worker"),
        shares_parts=config.contract.kind == "html-page",
        generator=config.orchestrator.generator or _default_generator(config),
        reviewer=config.orchestrator.reviewer,
        max_calls=config.orchestrator.max_calls_per_turn,
        load=load,
        failed_plans=failed_plans(state),
        refused=tuple(state.refused[-MAX_COMPARED:]),
        doubted=frozenset(state.doubted),
        notices=tuple(notice(reached) for reached in state.warned.values()),
    )


def failed_plans(state: RunState) -> tuple[FailedPlan, ...]:
    """The last plans of `state` that gave up a call, or made nothing at all, oldest first."""
    failed = [turn for turn in state.turns if turn.calls and turn.open_calls == 0 and turn.failed]
    return tuple(_failed_plan(turn, state) for turn in failed[-MAX_COMPARED:])


def _failed_plan(turn: TurnState, state: RunState) -> FailedPlan:
    reasons: dict[str, str] = {}
    to_blame: set[str] = set()
    failure: FailureClass | None = None
    for name in turn.failed:
        call = state.calls[name]
        if call.last_failure is None:
            continue
        record = call.last_failure.failure
        failure = record.failure_class
        reasons[name] = f"{record.failure_class}: {record.message}"
        if FAILURES[record.failure_class].blame == "call":
            to_blame.add(name)
    return FailedPlan(turn.number, turn.calls, reasons, frozenset(to_blame), failure)


def roles_of(config: Config) -> tuple[Role, ...]:
    """The aliases that a plan may name."""
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


def _earlier(call: CallState) -> EarlierCall:
    failed = call.last_failure if call.status is not CallStatus.DONE else None
    return EarlierCall(
        id=call.id,
        alias=call.planned.alias,
        status=call.status.value,
        output_file=call.planned.output_file,
        failure="" if failed is None else failed.failure.message,
        advice=call.advice,
    )


def _default_generator(config: Config) -> str:
    names = [n for n, a in config.aliases.items() if a.enabled and n != config.orchestrator.alias]
    writers = [name for name in names if config.aliases[name].mode == "output_file"]
    return (writers or names or [config.orchestrator.alias])[0]
