"""From the calls that scanners found to those that may run, and named problems for the rest.

Rules, in order, for each call found:

- cut off: the answer ended for length before the call was closed: never a call;
- no name: the one offered tool whose schema takes exactly these arguments, else a problem;
- repaired: a repair stands only if the tool was offered and the arguments fit its schema (where the
  caller offers no list of tools there is no schema to check);
- not offered: dropped with a problem. If nothing offered was called at all, the calls are handed
  on with a violation, so that the tool runner can answer them; an empty offer has no calls.

Arguments of a call that was written correctly are handed on even if they miss the schema: the
model asked for the call, and `violations` says how it misses the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from familiar.wire.coerce import coerce
from familiar.wire.found import Answer, Block, FoundCall
from familiar.wire.jsontext import loads
from familiar.wire.limits import MAX_CALLS
from familiar.wire.offered import OfferedTools
from familiar.wire.result import Json, Problem, Repair, WireCall
from familiar.wire.schema import properties_of, violations

_WRAPPING_KEYS = ("arguments", "parameters", "input")


@dataclass(slots=True)
class Bound:
    """Calls in order, with each repair and each rejection."""

    calls: list[WireCall] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unoffered: list[WireCall] = field(default_factory=list)


def bind(blocks: list[Block], answer: Answer) -> Bound:
    bound = Bound()
    tools = answer.tools
    cut = answer.finish_reason == "length"
    for block in blocks:
        for problem in block.problems:
            bound.problems.append(_cut_off(problem.offset) if cut and block.keep_text else problem)
        room = MAX_CALLS - len(bound.calls)
        for found in block.calls[:room]:
            _bind_call(bound, found, tools, cut)
        if len(block.calls) > room:
            message = f"The answer holds more than {MAX_CALLS} calls; the rest was left out."
            bound.problems.append(Problem("too_many_calls", block.start, message))
            break
    _settle_unoffered(bound, tools)
    return bound


def _cut_off(offset: int) -> Problem:
    message = (
        "The answer was cut off by its length limit inside a call, so the call was not carried "
        "out. Send it again with a smaller payload, or in several calls."
    )
    return Problem("truncated_call", offset, message)


def _bind_call(bound: Bound, found: FoundCall, tools: OfferedTools, cut: bool) -> None:
    if cut and not found.closed:
        bound.problems.append(_cut_off(found.start))
        return
    repairs = found.repairs
    name = found.name or _inferred_name(found, tools, repairs)
    if not name:
        message = (
            "A call names no tool, and its arguments fit no single offered tool. Name the tool."
        )
        bound.problems.append(Problem("missing_name", found.start, message))
        return
    schema = tools.parameters(name)
    arguments = _arguments(found, schema)
    if arguments is None:
        message = f"The arguments of the call to {name!r} are not one JSON object. Write it again."
        bound.problems.append(Problem("malformed_json", found.start, message))
        return
    arguments = _unwrapped(arguments, schema, repairs, found.start)
    missed = violations(dict(arguments), schema)
    identity = found.id or f"call_{len(bound.calls) + len(bound.unoffered)}"
    offered = not tools.known or tools.offers(name)
    if tools.known and (repairs or found.needs_offer) and (missed or not offered):
        bound.problems.append(_rejected_repair(name, found.start, repairs, missed))
        return
    bound.repairs.extend(repairs)
    if offered:
        bound.calls.append(WireCall(name, arguments, identity, found.start, found.end, missed))
    else:
        note = ("the tool was not offered",)
        bound.unoffered.append(WireCall(name, arguments, identity, found.start, found.end, note))


def _rejected_repair(
    name: str, offset: int, repairs: list[Repair], missed: tuple[str, ...]
) -> Problem:
    named = ", ".join(repair.name for repair in repairs) or "no markup of its own"
    reason = "; ".join(missed) or "it is not an offered tool"
    message = (
        f"The call to {name!r} was not written correctly ({named}), and repaired it could not run: "
        f"{reason}. Write the call again."
    )
    return Problem("repair_rejected", offset, message)


def _settle_unoffered(bound: Bound, tools: OfferedTools) -> None:
    if not bound.unoffered:
        return
    offered = ", ".join(sorted(tools.names or ())) or "none"
    for call in bound.unoffered:
        message = f"The tool {call.name!r} was not offered. Offered: {offered}."
        bound.problems.append(Problem("tool_not_offered", call.start, message))
    if not bound.calls and tools.names:
        bound.calls.extend(bound.unoffered)


def _inferred_name(found: FoundCall, tools: OfferedTools, repairs: list[Repair]) -> str:
    candidates = tools.accepting(frozenset(argument.key for argument in found.arguments))
    if len(candidates) != 1:
        return ""
    repairs.append(Repair("inferred_name", found.start, candidates[0]))
    return candidates[0]


def _arguments(found: FoundCall, schema: Mapping[str, object]) -> dict[str, Json] | None:
    if len(found.arguments) == 1 and not found.arguments[0].key and found.arguments[0].raw:
        whole = loads(found.arguments[0].raw)
        return dict(whole[0]) if whole is not None and isinstance(whole[0], dict) else None
    declared = properties_of(schema, schema)
    return {
        argument.key: coerce(argument, declared.get(argument.key, {}), schema)
        for argument in found.arguments
    }


def _unwrapped(
    arguments: dict[str, Json], schema: Mapping[str, object], repairs: list[Repair], offset: int
) -> dict[str, Json]:
    """All arguments written as one argument called `arguments`, which the tool does not have."""
    if len(arguments) != 1:
        return arguments
    key, inner = next(iter(arguments.items()))
    declared = properties_of(schema, schema)
    if key not in _WRAPPING_KEYS or key in declared:
        return arguments
    if isinstance(inner, str):
        decoded = loads(inner)
        inner = decoded[0] if decoded is not None else inner
    if not isinstance(inner, dict) or not inner or not set(inner) <= set(declared):
        return arguments
    repairs.append(Repair("wrapped_arguments", offset, key))
    return inner
