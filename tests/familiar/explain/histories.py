"""Histories of runs, written tersely: what a test says happened, as the events that record it."""

from __future__ import annotations

from pydantic import JsonValue

from familiar import event as ev
from familiar.call import CallKind, Failure, Timing, Usage
from familiar.errors import FailureClass

T = 1_000.0


class History:
    """Events of one run, with a clock that the test moves."""

    def __init__(self, *files: str) -> None:
        self.events: list[ev.Event] = []
        self.now = T
        self.add(
            ev.RunSubmitted(
                session_id="s",
                goal=ev.text_ref("goal"),
                files=files,
                workspace="/w",
                config_hash="c0ffee",
            )
        )

    @property
    def seq(self) -> int:
        return len(self.events)

    def add(self, body: ev.Body, after_s: float = 0.0) -> int:
        """Record `body` some seconds after the last event; its seq."""
        self.now += after_s
        self.events.append(ev.Event("r", self.seq + 1, 1, self.now, body))
        return self.seq

    def plan(self, *calls: ev.PlannedCall, turn: int = 1, more: bool = False) -> int:
        self.add(ev.TurnStarted(turn=turn))
        self.good(f"plan-{turn}", kind="plan", alias="orchestrator", replica="brain:0", tokens=60)
        return self.add(ev.PlanAccepted(turn=turn, planner="model", continue_=more, calls=calls))

    def reject(self, code: str, *, turn: int = 1, attempt: int = 1) -> int:
        self.good(
            f"plan-{turn}",
            kind="plan",
            alias="orchestrator",
            replica="brain:0",
            tokens=60,
            attempt=attempt,
        )
        problem = ev.Problem(code=code, message=f"about {code}")
        return self.add(ev.PlanRejected(turn=turn, attempt=attempt, problems=(problem,)))

    def send(
        self,
        call: str,
        attempt: int = 1,
        *,
        kind: CallKind = "worker",
        alias: str = "naughty",
        replica: str = "pool:0",
        waited_s: float = 0.01,
    ) -> int:
        return self.add(
            ev.CallDispatched(
                call=call,
                attempt=attempt,
                kind=kind,
                turn=1,
                alias=alias,
                mode="text",
                pool=replica.partition(":")[0],
                replica=replica,
                queued_at=self.now - waited_s,
                prompt=ev.text_ref("prompt"),
                prompt_name=alias,
                prompt_version="1",
            )
        )

    def good(
        self,
        call: str,
        attempt: int = 1,
        *,
        kind: CallKind = "worker",
        alias: str = "naughty",
        replica: str = "pool:0",
        tokens: int = 100,
        rate: float = 50.0,
        waited_s: float = 0.01,
    ) -> int:
        """An attempt that ends well after `tokens` at `rate`."""
        self.send(call, attempt, kind=kind, alias=alias, replica=replica, waited_s=waited_s)
        start, span = self.now, (tokens - 1) / rate
        return self.add(
            ev.CallSucceeded(
                call=call,
                attempt=attempt,
                kind=kind,
                raw=ev.text_ref("answer"),
                text=ev.text_ref("answer"),
                timing=Timing(
                    started_at=start, first_token_at=start + 0.1, ended_at=start + 0.1 + span
                ),
                usage=Usage(prompt_tokens=30, output_tokens=tokens),
                finish_reason="stop",
            ),
            0.1 + span,
        )

    def bad(
        self,
        call: str,
        failure: FailureClass,
        attempt: int = 1,
        *,
        replica: str = "pool:0",
        took_s: float = 1.0,
        tokens: int = 0,
        first_token_s: float | None = None,
        action: str = "give_up",
        message: str = "it failed",
        wait_s: float | None = None,
        **evidence: JsonValue,
    ) -> int:
        """An attempt that fails, with the recovery that was chosen; the seq of the failure."""
        self.send(call, attempt, replica=replica)
        start = self.now
        record = Failure(
            failure_class=failure,
            message=message,
            evidence={"tokens": tokens, "seconds": took_s, **evidence},
        )
        seq = self.add(
            ev.CallFailed(
                call=call,
                attempt=attempt,
                kind="worker",
                failure=record,
                timing=Timing(
                    started_at=start,
                    first_token_at=None if first_token_s is None else start + first_token_s,
                    ended_at=start + took_s,
                ),
                usage=Usage(output_tokens=tokens),
            ),
            took_s,
        )
        chosen = {"call": call, "attempt": attempt, "action": action, "reasons": ("a reason",)}
        self.add(ev.RecoveryChosen.model_validate({**chosen, "wait_s": wait_s}))
        return seq

    def timed(
        self,
        call: str,
        failure: FailureClass,
        attempt: int = 1,
        *,
        rate: float,
        silent_s: float = 0.02,
        limit_s: float = 5.0,
        first_token_s: float = 0.2,
        action: str = "give_up",
        **evidence: JsonValue,
    ) -> int:
        """An attempt that its total deadline ended, after tokens came at `rate`."""
        writing = limit_s - first_token_s - silent_s
        return self.bad(
            call,
            failure,
            attempt,
            took_s=limit_s,
            tokens=int(rate * writing),
            first_token_s=first_token_s,
            action=action,
            **{
                "deadline": "total",
                "deadline_s": limit_s,
                "stall_limit_s": 2.0,
                "tokens_per_s": rate,
                "silent_s": silent_s,
                "longest_gap_s": max(silent_s, 0.05),
                "probe": "ok",
                **evidence,
            },
        )

    def fail(self, failure: FailureClass | None = None, reason: str = "it could not") -> int:
        return self.add(ev.RunEnded(outcome="failed", reason=reason, failure_class=failure), 0.1)

    def succeed(self) -> int:
        return self.add(ev.RunEnded(outcome="succeeded", reason="1 files after 1 turn(s)"), 0.1)


def call(
    name: str, *depends_on: str, prompt: str = "Write.", file: str | None = None
) -> ev.PlannedCall:
    return ev.PlannedCall(
        id=name, alias="naughty", prompt=prompt, depends_on=depends_on, output_file=file
    )
