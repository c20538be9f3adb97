"""How each dialect writes calls, as its chat template does: what the scanners must undo.

A writer takes calls (name and arguments) and gives the text that a well-behaved model would
produce. Written from the templates' published form, independently of the scanners, so that a round
trip means something.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

Call = tuple[str, Mapping[str, object]]
Writer = Callable[[Sequence[Call]], str]


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _raw(value: object) -> str:
    return value if isinstance(value, str) else _dump(value)


def hermes(calls: Sequence[Call]) -> str:
    """One JSON object per wrapper."""
    return "\n".join(
        f"<tool_call>\n{_dump({'name': name, 'arguments': arguments})}\n</tool_call>"
        for name, arguments in calls
    )


def _functions(open_tag: str, close_tag: str, frame: str) -> Writer:
    def write(calls: Sequence[Call]) -> str:
        blocks = []
        for name, arguments in calls:
            values = "".join(
                f"<parameter={key}>{frame}{_raw(value)}{frame}</parameter>\n"
                for key, value in arguments.items()
            )
            blocks.append(f"{open_tag}\n<function={name}>\n{values}</function>\n{close_tag}")
        return "\n".join(blocks)

    return write


def _dsml(prefix: str, wrapper: str) -> Writer:
    def write(calls: Sequence[Call]) -> str:
        lines = [f"<{prefix}{wrapper}>"]
        for name, arguments in calls:
            lines.append(f'<{prefix}invoke name="{name}">')
            for key, value in arguments.items():
                kind = "true" if isinstance(value, str) else "false"
                lines.append(
                    f'<{prefix}parameter name="{key}" string="{kind}">{_raw(value)}'
                    f"</{prefix}parameter>"
                )
            lines.append(f"</{prefix}invoke>")
        lines.append(f"</{prefix}{wrapper}>")
        return "\n".join(lines)

    return write


def glm(calls: Sequence[Call]) -> str:
    """Name, then key and value tags."""
    blocks = []
    for name, arguments in calls:
        pairs = "".join(
            f"\n<arg_key>{key}</arg_key>\n<arg_value>{_raw(value)}</arg_value>"
            for key, value in arguments.items()
        )
        blocks.append(f"<tool_call>{name}{pairs}\n</tool_call>")
    return "\n".join(blocks)


def minimax_m2(calls: Sequence[Call]) -> str:
    """Invokes with inline parameters in one wrapper."""
    lines = ["<minimax:tool_call>"]
    for name, arguments in calls:
        values = "".join(
            f'<parameter name="{key}">{_raw(value)}</parameter>\n'
            for key, value in arguments.items()
        )
        lines.append(f'<invoke name="{name}">\n{values}</invoke>')
    return "\n".join([*lines, "</minimax:tool_call>"])


def _m3_value(key: str, value: object) -> str:
    mark = "]<]minimax[>["
    if isinstance(value, dict):
        inner = "".join(_m3_value(name, item) for name, item in value.items())
    elif isinstance(value, list):
        inner = "".join(_m3_value("item", item) for item in value)
    else:
        inner = _raw(value)
    return f"{mark}<{key}>{inner}{mark}</{key}>"


def minimax_m3(calls: Sequence[Call]) -> str:
    """Arguments as nested elements behind the marker."""
    mark = "]<]minimax[>["
    invokes = "".join(
        f'{mark}<invoke name="{name}">'
        + "".join(_m3_value(key, value) for key, value in arguments.items())
        + f"{mark}</invoke>\n"
        for name, arguments in calls
    )
    return f"{mark}<tool_call>\n{invokes}{mark}</tool_call>"


def deepseek_v3(calls: Sequence[Call]) -> str:
    """Typed heads and fenced JSON."""
    inner = "\n".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{_dump(arguments)}\n```"
        "<｜tool▁call▁end｜>"
        for name, arguments in calls
    )
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜>"


def deepseek_v31(calls: Sequence[Call]) -> str:
    """Bare heads and JSON."""
    inner = "".join(
        f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{_dump(arguments)}<｜tool▁call▁end｜>"
        for name, arguments in calls
    )
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜>"


def kimi(calls: Sequence[Call]) -> str:
    """Numbered function ids."""
    inner = "".join(
        f"<|tool_call_begin|>functions.{name}:{index}<|tool_call_argument_begin|>"
        f"{_dump(arguments)}<|tool_call_end|>"
        for index, (name, arguments) in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{inner}<|tool_calls_section_end|>"


def mistral(calls: Sequence[Call]) -> str:
    """A marker per call."""
    return "".join(f"[TOOL_CALLS]{name}[ARGS]{_dump(arguments)}" for name, arguments in calls)


def llama_json(calls: Sequence[Call]) -> str:
    """Objects without markup, separated by semicolons."""
    return "; ".join(_dump({"name": name, "parameters": arguments}) for name, arguments in calls)


def _python_calls(calls: Sequence[Call]) -> list[str]:
    return [
        f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        for name, arguments in calls
    ]


def python_list(calls: Sequence[Call]) -> str:
    """A list of calls."""
    return "[" + ", ".join(_python_calls(calls)) + "]"


def python_lines(calls: Sequence[Call]) -> str:
    """One call a line between tags."""
    return "<function_calls>" + "\n".join(_python_calls(calls)) + "</function_calls>"


def _gemma_value(value: object) -> str:
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_gemma_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_gemma_value(item) for item in value) + "]"
    return _dump(value)


def gemma(calls: Sequence[Call]) -> str:
    """Bare keys and string delimiters."""
    return "".join(
        f"<|tool_call>call:{name}{_gemma_value(dict(arguments))}<tool_call|>"
        for name, arguments in calls
    )


def granite(calls: Sequence[Call]) -> str:
    """One list behind one marker."""
    return "<|tool_call|> " + _dump(
        [{"name": name, "arguments": arguments} for name, arguments in calls]
    )


def harmony(calls: Sequence[Call]) -> str:
    """One message per call, addressed to the function."""
    return "<|start|>assistant".join(
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>"
        f"{_dump(arguments)}<|call|>"
        for name, arguments in calls
    )


WRITERS: Mapping[str, Writer] = {
    "hermes_json": hermes,
    "qwen3_json": hermes,
    "generic_json": hermes,
    "qwen3_coder_xml": _functions("<tool_call>", "</tool_call>", "\n"),
    "step3p5_xml": _functions("<tool_call>", "</tool_call>", "\n"),
    "seed_oss_xml": _functions("<seed:tool_call>", "</seed:tool_call>", ""),
    "deepseek_v32_dsml": _dsml("｜DSML｜", "function_calls"),
    "deepseek_v4_dsml": _dsml("｜DSML｜", "tool_calls"),
    "deepseek_v41_dsml": _dsml("｜DSML｜ ", "calls"),
    "glm45_xml": glm,
    "minimax_m2": minimax_m2,
    "minimax_m3": minimax_m3,
    "deepseek_v3": deepseek_v3,
    "deepseek_v31": deepseek_v31,
    "kimi_k2": kimi,
    "mistral": mistral,
    "llama3_json": llama_json,
    "pythonic": python_list,
    "llama4_pythonic": python_list,
    "olmo3_pythonic": python_lines,
    "gemma4": gemma,
    "granite": granite,
    "gpt_oss_harmony": harmony,
}
# The other two spellings of DSML that ds4-server takes.
DSML_SPELLINGS: Mapping[str, Writer] = {
    "no leading bar": _dsml("DSML｜", "tool_calls"),
    "no mark": _dsml("", "tool_calls"),
}
