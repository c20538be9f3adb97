"""The wire: model output, read strictly, repaired carefully, never guessed at.

`parse` is the entry, `dialects` has a row for every way to write calls, `plan_wire` the plan wires.
"""

from familiar.wire.dialects import DIALECT_IDS, PLAN_WIRES, RESERVED_TAG_NAMES
from familiar.wire.parse import parse_output
from familiar.wire.plan_wire import wire_instruction, wire_suffix
from familiar.wire.result import ParsedOutput, Problem, Repair, WireCall
from familiar.wire.stream import OutputParser

__all__ = [
    "DIALECT_IDS",
    "PLAN_WIRES",
    "RESERVED_TAG_NAMES",
    "OutputParser",
    "ParsedOutput",
    "Problem",
    "Repair",
    "WireCall",
    "parse_output",
    "wire_instruction",
    "wire_suffix",
]
