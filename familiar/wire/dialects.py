"""Every dialect that familiar reads, one row each: reasoning marks, call markup, spacing.

A dialect is a row of values; there are seven kinds of call markup, and each kind is a `Syntax` with
its scanner in a module of its own. Models differ in the names of their tags and in small freedoms,
not in kind. So a new model is a new row here and a case file under `tests/familiar/wire/cases/`; a
new kind of markup is a module with a `Syntax` besides. The ids are those of the recorded cases.
Plan wires have no row: their tags depend on (run, turn), see `plan_wire`.

In patterns every repetition is bounded or stops at the next angle bracket, so that matching never
runs back over the text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from familiar.wire.braces import BraceSyntax
from familiar.wire.channels import ChannelSyntax
from familiar.wire.elements import ElementSyntax
from familiar.wire.found import Block, Syntax, TooManyTags, Window
from familiar.wire.jsoncalls import HeadSyntax, JsonSyntax
from familiar.wire.limits import MAX_BROKEN
from familiar.wire.pythoncalls import PythonSyntax
from familiar.wire.tags import TagSyntax


@dataclass(frozen=True, slots=True)
class Dialect:
    """One family's way of writing an answer.

    `think_open`/`think_close` frame reasoning; `think_label` is a word that begins it.
    `nested_think`: a frame that opens inside a frame takes a closer of its own.
    `implicit_think`: text before a lone closer was reasoning (the opener stood in the prompt).
    `trim_before_call`: endings of the text before a call that belong to the markup; the first
    that matches is dropped.
    `dropped`: marker tokens that are never content. `openers`: texts that begin
    a call, where a value may hold any text.
    """

    id: str
    syntaxes: tuple[Syntax, ...]
    openers: tuple[str, ...] = ()
    think_open: str = "<think>"
    think_close: str = "</think>"
    think_label: str = ""
    implicit_think: bool = True
    nested_think: bool = True
    trim_before_call: tuple[str, ...] = ("\n\n",)
    dropped: tuple[str, ...] = ()

    def scan(self, window: Window) -> list[Block]:
        """Blocks of all of the dialect's syntaxes, in order, without overlap.

        Where two syntaxes claim the same text, the one that found calls wins, then the earlier one.
        """
        kept: list[Block] = []
        for syntax in self.syntaxes:
            found = syntax.scan(window)
            kept = _merged(kept, found) if kept and found else kept or found
        if sum(len(block.problems) for block in kept) > MAX_BROKEN:
            raise TooManyTags
        return kept


def _merged(earlier: list[Block], later: list[Block]) -> list[Block]:
    merged: list[Block] = []
    for block in sorted([*earlier, *later], key=lambda block: (block.start, -block.end)):
        if not merged or merged[-1].end <= block.start:
            merged.append(block)
        elif block.calls and not merged[-1].calls:
            merged[-1] = block
    return merged


_NAME = r"([^<>\n]{1,256})"
# Attributes stop at the next angle bracket, so a tag that is never closed costs one look.
_ATTRS = r"((?:\s[^<>]{0,1024})?)"
_BARS = r"[|｜‖∥│┃❘ǀ∣]"
_DSML = rf"(?:{_BARS}{{0,4}}DSML{_BARS}{{1,4}})?\s{{0,2}}"

FUNCTION_TAGS = TagSyntax(
    wrap_open=r"<tool_call>",
    wrap_close=r"</tool_call>",
    call_open=rf"<function={_NAME}>",
    call_close=r"</function>",
    param_open=rf"<parameter={_NAME}>",
    param_close=r"</parameter>",
    framed=True,
)
SEED_TAGS = replace(FUNCTION_TAGS, wrap_open=r"<seed:tool_call>", wrap_close=r"</seed:tool_call>")
# ds4-server takes three spellings (both bars, no leading bar, no mark at all); V4.1 adds a space.
DSML_TAGS = TagSyntax(
    wrap_open=rf"<{_DSML}(?:tool_calls|function_calls|calls|(?<=｜|\|)tool)\s{{0,2}}>",
    wrap_close=rf"</{_DSML}(?:tool_calls|function_calls|calls|(?<=｜|\|)tool)\s{{0,2}}>",
    call_open=rf"<{_DSML}invoke{_ATTRS}>",
    call_close=rf"</{_DSML}invoke\s{{0,2}}>",
    param_open=rf"<{_DSML}parameter{_ATTRS}>",
    param_close=rf"</{_DSML}parameter\s{{0,2}}>",
    attributes=True,
    probes=("DSML", "<invoke", "calls>", "<function>"),
    mark="DSML",
    foreign_call_open=rf"<function>\s{{0,8}}<name>{_NAME}</name>",
)
MINIMAX_TAGS = TagSyntax(
    wrap_open=r"<minimax:tool_call>",
    wrap_close=r"</minimax:tool_call>",
    call_open=rf"<invoke{_ATTRS}>",
    call_close=r"</invoke>",
    param_open=rf"<parameter{_ATTRS}>",
    param_close=r"</parameter>",
    attributes=True,
    probes=("<invoke", "tool_call>"),
)
INVOKE_TAGS = replace(
    MINIMAX_TAGS,
    wrap_open=r"<function_calls>",
    wrap_close=r"</function_calls>",
    probes=("<invoke",),
    framed=True,
)
# A key may lack its opener, have a closer too many, or be followed by no opener of its value.
_GAP = r"(?:\s|\\n){0,64}"
GLM_TAGS = TagSyntax(
    call_open=rf"<tool_call>(?:{_GAP}([^\s<>\"'`,;:!?(){{}}]{{1,256}}?){_GAP}"
    r"(?=</?(?:arg_key|arg_value|tool_call)>|\Z))?",
    call_close=r"</tool_call>",
    param_open=rf"<(?:(?:arg_key>((?:[^<]|<(?!/?arg_|/?tool_call>)){{0,256}})<)?/arg_key>(?:{_GAP}</arg_key>){{0,16}}"
    rf"(?:{_GAP}<arg_value>)?|arg_key>|arg_value>)",
    param_close=r"</arg_value>",
    key_close="</arg_key>",
    value_open="<arg_value>",
    probes=("<tool_call>",),
)
MINIMAX_ELEMENTS = ElementSyntax(marker="]<]minimax[>[", wrapper="tool_call", call="invoke")
HERMES_JSON = JsonSyntax(open=r"<tool_call>", close=r"</tool_call>")
GRANITE_LIST = JsonSyntax(open=r"<\|tool_call\|>", close=r"</tool_call>", array_only=True)
MISTRAL_LIST = JsonSyntax(open=r"\[TOOL_CALLS\]", close=r"\[/TOOL_CALLS\]", array_only=True)
LLAMA_JSON = JsonSyntax(
    open=r"<\|python_tag\|>", close=r"<\|eom_id\|>|<\|eot_id\|>", bare=True, separator=";"
)
# DeepSeek's marker tokens appear with U+2581, underscores or spaces, and with either bar.
_BAR, _SP = r"[|｜]", r"[▁_ ]"
_SECTION = (
    rf"<{_BAR}tool{_SP}calls{_SP}begin{_BAR}>",
    rf"<{_BAR}tool{_SP}calls{_SP}end{_BAR}>",
)
DEEPSEEK_HEAD = HeadSyntax(
    open=(
        rf"<(?:{_SECTION[0][1:]}\s{{0,64}}<)?{_BAR}tool{_SP}call{_SP}begin{_BAR}>\s{{0,4}}"
        rf"(?:function<{_BAR}tool{_SP}sep{_BAR}>)?"
        rf"([^<\n]{{1,256}})(?:<{_BAR}tool{_SP}sep{_BAR}>|\n)\s{{0,4}}(?:```(?:json)?\n)?"
    ),
    close=rf"(?:```\s{{0,4}})?<{_BAR}tool{_SP}call{_SP}end{_BAR}>(?:\s{{0,64}}{_SECTION[1]})?"
    rf"|{_SECTION[1]}",
    sections=_SECTION,
)
KIMI_HEAD = HeadSyntax(
    open=r"<(?:\|tool_calls?_section_begin\|>\s{0,64}<)?\|tool_call_begin\|>([^<]{0,256})"
    r"<\|tool_call_argument_begin\|>",
    close=r"<\|tool_call_end\|>(?:\s{0,64}<\|tool_calls?_section_end\|>)?"
    r"|<\|tool_calls?_section_end\|>",
    sections=(r"<\|tool_calls?_section_begin\|>", r"<\|tool_calls?_section_end\|>"),
    numbered=True,
)
MISTRAL_HEAD = HeadSyntax(
    open=r"\[TOOL_CALLS\]\s{0,4}([^\[\]{}\s][^\[\]{}]{0,255})"
    r"(?:\[CALL_ID\]([^\[\]{}]{0,64}))?(?:\[ARGS\])?\s{0,4}(?=\{)",
    close=r"</s>",
)
GEMMA_BRACES = BraceSyntax(open=r"<\|tool_call>", close="<tool_call|>", quote='<|"|>')
HARMONY = ChannelSyntax(
    start="<|start|>",
    channel="<|channel|>",
    message="<|message|>",
    ends=("<|end|>", "<|call|>", "<|return|>"),
    call_end="<|call|>",
    recipient_prefix="functions.",
)
PYTHON_LIST = PythonSyntax()
PYTHON_LINES = PythonSyntax(open="<function_calls>", close="</function_calls>")
LFM_PYTHON = PythonSyntax(open="<|tool_call_start|>", close="<|tool_call_end|>")
LLAMA_PYTHON = PythonSyntax(open="<|python_start|>", close="<|python_end|>")

_DSML_OPENERS = ("<｜", "<|", "<DSML", "<tool_calls", "<function", "<invoke")
_BREAKS = ("\n\n", "\n", " ")

_ROWS = (
    Dialect("hermes_json", (HERMES_JSON,)),
    Dialect("qwen3_json", (HERMES_JSON,)),
    Dialect("qwen3_coder_xml", (FUNCTION_TAGS,), ("<tool_call>", "<function=")),
    Dialect(
        "step3p5_xml",
        (FUNCTION_TAGS,),
        ("<tool_call>", "<function="),
        trim_before_call=_BREAKS,
    ),
    Dialect(
        "seed_oss_xml",
        (SEED_TAGS,),
        ("<seed:tool_call>", "<function="),
        think_open="<seed:think>",
        think_close="</seed:think>",
        trim_before_call=_BREAKS,
    ),
    *(
        Dialect(
            name,
            (DEEPSEEK_HEAD,),
            implicit_think=False,
            nested_think=False,
            dropped=("<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
        )
        for name in ("deepseek_v3", "deepseek_v31")
    ),
    *(
        Dialect(name, (DSML_TAGS,), _DSML_OPENERS)
        for name in ("deepseek_v32_dsml", "deepseek_v4_dsml", "deepseek_v41_dsml")
    ),
    Dialect(
        "glm45_xml",
        (GLM_TAGS,),
        ("<tool_call>",),
        trim_before_call=("\n\n", " "),
    ),
    Dialect(
        "minimax_m2",
        (MINIMAX_TAGS,),
        ("<minimax:tool_call>", "<invoke"),
        trim_before_call=_BREAKS,
    ),
    Dialect(
        "minimax_m3",
        (MINIMAX_ELEMENTS,),
        ("]<]",),
        think_open="<mm:think>",
        think_close="</mm:think>",
    ),
    Dialect("kimi_k2", (KIMI_HEAD,)),
    Dialect(
        "mistral",
        (MISTRAL_HEAD, MISTRAL_LIST),
        think_open="[THINK]",
        think_close="[/THINK]",
        trim_before_call=("\n\n", " "),
    ),
    Dialect("llama3_json", (LLAMA_JSON,)),
    Dialect(
        "pythonic",
        (PYTHON_LINES, LLAMA_PYTHON, LFM_PYTHON, PYTHON_LIST),
        ("[", "<function_calls>", "<|python_start|>", "<|tool_call_start|>"),
    ),
    Dialect("llama4_pythonic", (LLAMA_PYTHON, PYTHON_LIST), ("[", "<|python_start|>")),
    Dialect("olmo3_pythonic", (PYTHON_LINES,), ("<function_calls>",)),
    Dialect(
        "gemma4",
        (GEMMA_BRACES,),
        ("<|tool_call>", "<|channel>", "<channel|>"),
        think_open="<|channel>",
        think_close="<channel|>",
        think_label="thought\n",
        implicit_think=False,
        dropped=("<channel|>",),
        trim_before_call=_BREAKS,
    ),
    Dialect(
        "granite",
        (GRANITE_LIST, HERMES_JSON, FUNCTION_TAGS),
        trim_before_call=_BREAKS,
    ),
    Dialect("gpt_oss_harmony", (HARMONY,), think_open="", think_close=""),
    Dialect("generic_json", (HERMES_JSON,)),
)

BYTE_ORDER_MARK = "\ufeff"

# Tokens that begin a turn, with the white space around them.
TURN_BEGIN = (
    r"\s{0,8}(?:<\|im_start\|>assistant|<\|start_header_id\|>assistant<\|end_header_id\|>|"
    r"<start_of_turn>model|<\|turn>model|<\|assistant\|>|<｜Assistant｜>)\s{0,8}"
)
# Tokens that end a turn. Engines usually drop them; where one does not, they are no content.
# `</s>` is left alone: it is also HTML.
TURN_ENDS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|role_end|>",
    "<|user|>",
    "<|observation|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
    "<seed:eos>",
    "<turn|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|im_start|>",
    "[e~[",
)

DIALECTS = MappingProxyType({row.id: row for row in _ROWS})
PLAN_WIRES = ("json", "xml", "toml", "html")
AUTO = "auto"
# Recorded failures call a markup that belongs to no model `custom`; the text has to decide.
AUTO_NAMES = frozenset({AUTO, "custom"})
# Names that models were trained to read as calls; a plan wire made of them would be taken for one.
RESERVED_TAG_NAMES = frozenset({"tool_call", "tool_calls", "invoke", "function", "parameter"})
DIALECT_IDS = (*DIALECTS, *PLAN_WIRES, AUTO)
