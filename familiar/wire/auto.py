"""Which dialect a text is written in, from its own marks.

The first mark in the text decides; a mark that several dialects share is told apart by the text
that follows it. A text without any mark is ordinary content, and is only looked at for fenced JSON.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from familiar.wire.dialects import DIALECTS, INVOKE_TAGS, Dialect
from familiar.wire.found import Block, FoundCall, Window, rejected, typed_arguments
from familiar.wire.jsontext import read_json
from familiar.wire.result import Repair

# (a literal without which the pattern cannot match, the pattern, the dialect). The literal is
# looked for first: a plain search is a hundred times faster than the pattern, and most are absent.
_MARKS: tuple[tuple[str, str, str], ...] = (
    ("]<]minimax[>[", r"\]<\]minimax\[>\[", "minimax_m3"),
    ("<minimax:tool_call>", r"<minimax:tool_call>", "minimax_m2"),
    ("seed:", r"<seed:tool_call>|</?seed:think>", "seed_oss_xml"),
    ("mm:think>", r"</?mm:think>", "minimax_m3"),
    ("DSML", r"<[|｜‖∥│┃❘ǀ∣]{0,4}DSML[|｜‖∥│┃❘ǀ∣]", "deepseek_v4_dsml"),
    ("<tool_calls>", r"<tool_calls>\s{0,16}<invoke", "deepseek_v4_dsml"),
    ("<function_calls>", r"<function_calls>\s{0,16}<invoke", "invoke_xml"),
    ("<invoke", r"<invoke\s[^<>]{1,256}>\s{0,16}<parameter", "deepseek_v4_dsml"),
    ("begin", r"<[|｜]tool[▁_ ]calls?[▁_ ]begin[|｜]>", "deepseek_v31"),
    ("_begin|>", r"<\|tool_calls?_section_begin\|>|<\|tool_call_begin\|>", "kimi_k2"),
    ("<|tool_call|>", r"<\|tool_call\|>", "granite"),
    ("<|tool_call>", r"<\|tool_call>", "gemma4"),
    ("<|channel>", r"<\|channel>", "gemma4"),
    ("<|channel|>", r"<\|channel\|>", "gpt_oss_harmony"),
    ("<|start|>", r"<\|start\|>", "gpt_oss_harmony"),
    ("[TOOL_CALLS]", r"\[TOOL_CALLS\]", "mistral"),
    ("[THINK]", r"\[THINK\]", "mistral"),
    ("<function_calls>", r"<function_calls>(?!\s{0,16}<)", "pythonic"),
    ("<|tool_call_start|>", r"<\|tool_call_start\|>", "pythonic"),
    ("<|python_start|>", r"<\|python_start\|>", "pythonic"),
    ("<|python_tag|>", r"<\|python_tag\|>", "llama3_json"),
    ("<function=", r"<tool_call>\s{0,64}<function=", "qwen3_coder_xml"),
    (
        "<function=",
        r"<function=[^<>\n]{1,128}>\s{0,16}(?:<parameter=|</function>)",
        "qwen3_coder_xml",
    ),
    ("<tool_call>", r"<tool_call>\s{0,64}[\[{]", "hermes_json"),
    (
        "<tool_call>",
        r"<tool_call>[^<>{}\n]{0,256}\s{0,16}</?(?:arg_key|tool_call)>",
        "glm45_xml",
    ),
)
_COMPILED = tuple((literal, re.compile(pattern), name) for literal, pattern, name in _MARKS)
# Markup of models that familiar does not run; others drift into it.
_FOREIGN = MappingProxyType({"invoke_xml": Dialect("invoke_xml", (INVOKE_TAGS,))})
# Dialects without marks are known by how the whole answer begins.
_BEGINNINGS = (
    (re.compile(r"\s{0,64}\{\s{0,64}\"(?:name|type)\"\s{0,16}:"), "llama3_json"),
    (re.compile(r"\s{0,64}\[\s{0,64}[A-Za-z_][\w.]{0,128}\("), "pythonic"),
)
_INVENTED = re.compile(
    r"<((?:tool|function)[_-]?calls?)>\s{0,64}<([A-Za-z_][\w.-]{0,127})>\s{0,64}(?=\{)",
    re.IGNORECASE,
)


def detect(text: str) -> Dialect | None:
    """The dialect of the first mark in `text`, or none."""
    first = len(text)
    found: str | None = None
    for literal, pattern, name in _COMPILED:
        if literal in text and (match := pattern.search(text)) and match.start() < first:
            first, found = match.start(), name
    if found is None:
        found = next((name for pattern, name in _BEGINNINGS if pattern.match(text)), None)
    return None if found is None else _FOREIGN.get(found) or DIALECTS[found]


def scan_invented(window: Window) -> list[Block]:
    """A wrapper that no model was trained on, around `<NAME>{json}</NAME>`.

    A model that saw no tools invents one. It is a call only if NAME was offered.
    """
    match = _INVENTED.search(window.text, window.start, window.end)
    if match is None:
        return []
    name, begin = match.group(2), match.start()
    if name not in window.offered:
        message = f"The call to {name!r} uses no known markup, and {name!r} was not offered."
        return [rejected("tool_not_offered", begin, window.end, message)]
    found = read_json(window.text, match.end())
    closing = re.compile(rf"\s{{0,64}}</{re.escape(name)}>\s{{0,64}}</{re.escape(match.group(1))}>")
    ending = closing.match(window.text, found[1]) if found else None
    if found is None or ending is None or not isinstance(found[0], dict):
        message = f"The call to {name!r} uses no known markup and does not close. Write it again."
        return [rejected("malformed_call", begin, window.end, message)]
    arguments = typed_arguments(found[0]) or []
    call = FoundCall(name, arguments, begin, ending.end())
    call.repairs.append(Repair("invented_wrapper", begin, match.group(1)))
    return [Block(begin, ending.end(), [call])]
