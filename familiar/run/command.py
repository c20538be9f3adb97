"""The commands that the machine makes due. A command is due until an event answers it.

Commands that are due are part of the folded state, so a restarted orchestrator performs exactly
those: each is safe to perform again, because its work is keyed by (run, call, attempt), and a
record that was not committed did not happen.
"""

from __future__ import annotations

from dataclasses import dataclass

from familiar.event import Body, SynthesisKind

_KEYS = ("turn", "call", "attempt", "budget", "soft")


@dataclass(frozen=True, slots=True)
class Record:
    body: Body

    @property
    def due(self) -> str:
        body = self.body
        return ":".join([body.type, *(str(getattr(body, key, "")) for key in _KEYS)])


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Wait for a free slot, choose a replica, and commit the choice (`call.dispatched`). Until
    `not_before` (seconds since the Unix epoch) only another replica than the last one is asked."""

    call: str
    attempt: int
    not_before: float = 0.0

    @property
    def due(self) -> str:
        return f"dispatch:{self.call}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class Carry:
    """Have the attempt carried out by its replica, or attach to it where it is already held; answer
    with `call.succeeded` or `call.failed`."""

    call: str
    attempt: int

    @property
    def due(self) -> str:
        return f"carry:{self.call}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """Read and lint the answer of a plan call; answer with `plan.accepted` or `plan.rejected`."""

    call: str
    attempt: int
    turn: int

    @property
    def due(self) -> str:
        return f"judge:{self.call}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class PlanByRules:
    """Let the rules planner plan the turn; answer with `plan.accepted` or `run.ended`."""

    turn: int

    @property
    def due(self) -> str:
        return f"rules:{self.turn}"


@dataclass(frozen=True, slots=True)
class Synthesize:
    """Make the next version of the answer, from the model's `call` if it has one; answer with
    `synthesis.made`, once for each version that was weighed and last for the adopted one."""

    turn: int
    kind: SynthesisKind
    call: str | None = None

    @property
    def due(self) -> str:
        return f"synthesize:{self.turn}:{self.kind}"


@dataclass(frozen=True, slots=True)
class Publish:
    """Rename the file into the workspace and commit it to git; answer with `file.published`."""

    call: str
    attempt: int

    @property
    def due(self) -> str:
        return f"publish:{self.call}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class Stop:
    """Abort an attempt that is not waited for any more. Needs no answer."""

    call: str
    attempt: int
    replica: str

    @property
    def due(self) -> str:
        return ""


Command = Record | Dispatch | Carry | JudgePlan | PlanByRules | Synthesize | Publish | Stop
