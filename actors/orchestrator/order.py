"""The order of an attempt, made from the call, its brief and its alias."""

from __future__ import annotations

from familiar.brief import Brief
from familiar.call import CallKey, CallMode, CallOrder, Deadlines
from familiar.config.schema import Config
from familiar.engine import GenerateRequest
from familiar.run.state import CallState


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


def mode_of(call: CallState) -> CallMode:
    return "output_file" if call.planned.output_file is not None else "text"
