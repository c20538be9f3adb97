"""An attempt on its way: the order that begins it, and the event that ends it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pydantic import JsonValue

from familiar import event as ev
from familiar.brief import Brief
from familiar.call import (
    CallKey,
    CallKind,
    CallMode,
    CallOrder,
    CallOutcome,
    Deadlines,
    Failure,
    Timing,
    Usage,
)
from familiar.config.schema import AliasConfig, Config
from familiar.engine import GenerateRequest
from familiar.errors import FailureClass
from familiar.run.state import CallState, RunState


def call_order(
    call: CallState, key: CallKey, brief: Brief, config: Config, epoch: int
) -> CallOrder:
    """The order that sends attempt `key` of `call` out in `epoch`."""
    alias = config.aliases[call.planned.alias]
    return CallOrder(
        key=key,
        epoch=epoch,
        alias=call.planned.alias,
        request=GenerateRequest(
            request_id=str(key),
            messages=brief.messages,
            sampling=brief.sampling,
            grammar=brief.grammar,
            continue_final=brief.continue_final,
        ),
        deadlines=Deadlines(
            first_token_s=alias.first_token_deadline_s,
            stall_s=alias.stall_deadline_s,
            total_s=alias.deadline_s,
        ),
        kind=call.kind,
        mode=mode_of(call),
        output_file=call.planned.output_file,
        document=brief.document,
        max_bytes=int(config.workspace.max_file_mib * 1024 * 1024),
    )


def with_former_aliases(config: Config, state: RunState) -> Config:
    """`config`, and stand-ins for the aliases of the run's calls that it has no more. No plan is
    offered a stand-in: it is for the order of a call that a replica holds, which is taken over."""
    planning = config.aliases[config.orchestrator.alias]
    former = {
        call.planned.alias: AliasConfig(
            pool=call.pool if call.pool in config.pools else planning.pool,
            mode=mode_of(call),
            enabled=False,
        )
        for call in state.calls.values()
        if call.planned.alias not in config.aliases
    }
    return config.model_copy(update={"aliases": {**config.aliases, **former}}) if former else config


def mode_of(call: CallState) -> CallMode:
    return "output_file" if call.planned.output_file is not None else "text"


def lost_outcome(
    key: CallKey,
    failure_class: FailureClass,
    message: str,
    evidence: Mapping[str, JsonValue] | None = None,
) -> CallOutcome:
    """The outcome of an attempt whose replica is lost, with nothing known of its text."""
    now = time.time()
    return CallOutcome(
        key=key,
        timing=Timing(started_at=now, ended_at=now),
        usage=Usage(),
        failure=Failure(failure_class, message, evidence or {}),
    )


def terminal_event(
    outcome: CallOutcome, kind: CallKind
) -> tuple[ev.CallSucceeded | ev.CallFailed, dict[str, str]]:
    """`call.succeeded` or `call.failed`; the texts are by SHA-256."""
    raw = ev.text_ref(outcome.raw)
    texts = {raw.sha256: outcome.raw}
    reasoning = ev.text_ref(outcome.reasoning) if outcome.reasoning else None
    if reasoning is not None:
        texts[reasoning.sha256] = outcome.reasoning
    if outcome.failure is not None:
        failed = ev.CallFailed(
            call=outcome.key.call_id,
            attempt=outcome.key.attempt,
            kind=kind,
            failure=outcome.failure,
            timing=outcome.timing,
            usage=outcome.usage,
            raw=raw if outcome.raw else None,
            partial_incomplete=outcome.partial_incomplete,
            reasoning=reasoning,
        )
        return failed, texts
    text = raw if outcome.text is outcome.raw else ev.text_ref(outcome.text)
    texts[text.sha256] = outcome.text
    succeeded = ev.CallSucceeded(
        call=outcome.key.call_id,
        attempt=outcome.key.attempt,
        kind=kind,
        raw=raw,
        text=text,
        timing=outcome.timing,
        usage=outcome.usage,
        finish_reason=outcome.finish_reason,
        repairs=outcome.repairs,
        reasoning=reasoning,
    )
    return succeeded, texts
