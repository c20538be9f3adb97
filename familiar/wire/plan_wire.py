"""The four ways a plan is written, chosen per alias: `json`, `xml`, `toml`, `html`.

All four carry the same plan. Their tags end in a suffix that is derived from (run, turn), so that
a plan quoted from an earlier turn, from a file or from another run cannot be taken for this
turn's plan. Tag names stay clear of everything that models were trained to read as a tool call.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType

from familiar.errors import WireError
from familiar.wire.dialects import PLAN_WIRES

SUFFIX_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PlanTags:
    """The tag names of one wire, without suffix; no `call` where the body is a data format."""

    root: str
    call: str = ""
    thought: str = ""
    more: str = ""
    prefix: str = ""  # of attribute names


PLAN_TAGS = MappingProxyType(
    {
        "json": PlanTags("familiar"),
        "toml": PlanTags("familiar"),
        "xml": PlanTags("familiar", "call", "thought", "continue"),
        "html": PlanTags("familiar-plan", "worker-call", "thought-note", "", "data-"),
    }
)


_EXAMPLES = MappingProxyType(
    {
        "json": """\
<familiar-SUFFIX>
{"continue": true, "worker_calls": [
{"id": "n1", "alias": "coder", "depends_on": [],
"output_file": "index.html", "prompt": "…"}
]}
</familiar-SUFFIX>
""",
        "toml": """\
<familiar-SUFFIX>
continue = true

[[worker_calls]]
id = "n1"
alias = "coder"
depends_on = []
output_file = "index.html"
prompt = '''
…
'''
</familiar-SUFFIX>
""",
        "xml": """\
<familiar-SUFFIX>
<thought-SUFFIX>…</thought-SUFFIX>
<continue-SUFFIX>true</continue-SUFFIX>
<call-SUFFIX id="n1" alias="coder" depends_on="" output_file="index.html">
…
</call-SUFFIX>
</familiar-SUFFIX>
""",
        "html": """\
<familiar-plan-SUFFIX data-continue="true">
<worker-call-SUFFIX data-id="n1" data-alias="coder" data-depends-on="">
…
</worker-call-SUFFIX>
</familiar-plan-SUFFIX>
""",
    }
)


def wire_suffix(run_id: str, turn: int) -> str:
    """The tag suffix of one turn: the first hex digits of SHA-256 over run and turn."""
    digest = hashlib.sha256(f"{run_id}\n{turn}".encode()).hexdigest()
    return digest[:SUFFIX_DIGITS]


def wire_tags(wire: str, suffix: str) -> tuple[str, ...]:
    """Every tag name of `wire` with `suffix`, root first. Raises `WireError` for no such wire."""
    if wire not in PLAN_WIRES:
        raise WireError(
            f"There is no plan wire {wire!r}.", remedy=f"Use one of: {', '.join(PLAN_WIRES)}."
        )
    tags = PLAN_TAGS[wire]
    names = (tags.root, tags.call, tags.thought, tags.more)
    return tuple(f"{name}-{suffix}" for name in names if name)


def wire_instruction(wire: str, suffix: str) -> str:
    """The sentences about `wire` for the newest message: the form, with this turn's tags."""
    names = wire_tags(wire, suffix)
    root = names[0]
    lines = [
        f"Answer with one plan between <{root}> and </{root}>, and nothing behind it.",
        "Use these tags exactly, with their suffix; never wrap the plan in a tool call.",
        "Write text as it is: no entities, no escapes beyond the format's own.",
        "",
        _EXAMPLES[wire].replace("SUFFIX", suffix),
        "`continue` is false when the run needs no further turn.",
        "`depends_on` names calls of this plan that must end first. `output_file` is optional.",
    ]
    return "\n".join(lines)
