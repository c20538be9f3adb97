"""How well and how fast `familiar.wire` reads recorded model output, beside vLLM's own parsers.

Reads `../shared/wire/` (beside the repository): recorded cases and real failures. A recorded case
is exact when the calls are equal, in order, and the content is too where the case checks it. A
failure is right when the stated action was taken. Peers' numbers are vLLM 0.32's own parsers on the
same file, calls only, as its README states them. Then: throughput over all texts, the slowest of
many floods of 1 MB, how many more steps twice the text takes, and the time of other hostile texts.
Times are CPU times. Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from familiar import documents  # noqa: E402
from familiar.call import DocumentSpec  # noqa: E402
from familiar.errors import WireError  # noqa: E402
from familiar.wire import (  # noqa: E402
    DIALECT_IDS,
    ParsedOutput,
    parse_output,
)
from familiar.wire.limits import MAX_DOCUMENT_BYTES  # noqa: E402
from tests.familiar.floods import Growth, floods, growth  # noqa: E402

SHARED = ROOT.parent / "shared" / "wire"
GOAL = 0.97
FLOOD_GOAL_SECONDS = 0.2
# Read as well, but not among the dialects that the goal counts: Ollama's fallback for plain JSON.
NOT_COUNTED = frozenset({"generic_json"})

VLLM: dict[str, tuple[int, int]] = {
    "deepseek_v31": (22, 25),
    "deepseek_v32_dsml": (15, 16),
    "deepseek_v4_dsml": (21, 23),
    "deepseek_v41_dsml": (6, 6),
    "gemma4": (43, 49),
    "glm45_xml": (50, 61),
    "hermes_json": (9, 10),
    "kimi_k2": (19, 21),
    "llama3_json": (6, 7),
    "minimax_m2": (12, 12),
    "pythonic": (9, 15),
    "qwen3_coder_xml": (56, 57),
    "seed_oss_xml": (11, 11),
    "step3p5_xml": (19, 19),
}

# Cases whose expectation we do not follow, and why. They count as misses.
NOT_FOLLOWED: dict[str, str] = {
    "119c3ef84891": "keeps a lone reasoning closer; 6d7c9ca84891 of the same dialect drops it",
    "0b341ca87985": "shows a complete, well-formed call as text instead of making it",
    "724d2dca4a2e": "loses two complete calls and the text between them",
    "1900fa2191af": "drops the text behind the calls; f9a56920aea2 keeps it",
    "dafc4aaac627": "decodes entities in an argument, which corrupts every HTML file written so",
    "282d8933b63f": "runs a call that the text broke off inside a string: half a value",
    "d4441ce5d6ae": "keeps a lone reasoning closer; 31aad37a3267 of the same dialect drops it",
    "a88a9ad067f9": "trims the line break before a call; four cases of the same dialect keep it",
    "86aa89b70c45": "runs bare JSON although no tool is known to be offered",
    "672b20bb6c2c": "runs bare JSON with stray brackets although no tool is known to be offered",
    "03baeadb98e4": "runs a bare list that never closes although no tool is known to be offered",
}

FLOOD_CHARS = 1_000_000
GROWTH_CHARS = 4_000
TOOLS = [{"name": "x", "parameters": {"properties": {"a": {"type": "string"}}}}]


def load(name: str) -> list[dict[str, Any]]:
    """The cases of one file."""
    lines = (SHARED / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def calls_of(parsed: ParsedOutput) -> list[dict[str, Any]]:
    """The calls in the form of the recorded cases."""
    return [{"name": call.name, "arguments": dict(call.arguments)} for call in parsed.calls]


def score_recorded(cases: list[dict[str, Any]]) -> dict[str, tuple[int, int, int]]:
    """For each format: exact, calls equal, cases. Prints each miss with its reason."""
    exact: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for case in cases:
        dialect = case["format"]
        if dialect not in DIALECT_IDS:
            continue
        total[dialect] += 1
        parsed = parse_output(
            case["text"],
            dialect=dialect,
            tools=case["tools"],
            in_reasoning=case["starts_in_reasoning"],
        )
        same_calls = calls_of(parsed) == case["expected"]
        same_text = not case["content_checked"] or parsed.content == case["content"]
        equal[dialect] += same_calls
        exact[dialect] += same_calls and same_text
        if not (same_calls and same_text):
            what = "content" if same_calls else "calls"
            reason = NOT_FOLLOWED.get(case["id"], "UNEXPLAINED")
            print(f"miss {dialect} {case['id']} ({what}): {reason}")
    return {name: (exact[name], equal[name], total[name]) for name in sorted(total)}


def action_taken(case: dict[str, Any], parsed: ParsedOutput) -> bool:
    """Whether `parsed` is what the case says a careful person would do."""
    recover = case["recover"]
    calls = calls_of(parsed)
    right = {
        "accept": calls == recover["calls"] and not parsed.problems,
        "content": not calls,
        "reject_and_retry": not calls and bool(parsed.problems),
        "lift_plan": not calls and parsed.plan is not None and len(parsed.repairs) == 1,
    }[recover["action"]]
    return bool(right) and recover["content"] in (None, parsed.content)


def score_malformed(cases: list[dict[str, Any]]) -> int:
    """How many failures were handled as stated."""
    right = 0
    for case in cases:
        parsed = parse_output(
            case["text"],
            dialect=case["format"],
            tools=case["tools"],
            finish_reason=case["finish_reason"],
        )
        taken = action_taken(case, parsed)
        right += taken
        if not taken:
            print(f"malformed {case['id']} ({case['recover']['action']}): not handled as stated")
    return right


def throughput(cases: list[dict[str, Any]], repeats: int) -> float:
    """MB of text read per second of CPU time, over all cases of known dialects."""
    known = [case for case in cases if case["format"] in DIALECT_IDS]
    size = sum(len(case["text"].encode()) for case in known) * repeats
    started = time.process_time()
    for _ in range(repeats):
        for case in known:
            parse_output(case["text"], dialect=case["format"], tools=case["tools"])
    return size / 1e6 / (time.process_time() - started)


def large_answer() -> float:
    """MB/s for one call that writes a 1 MB file."""
    line = (
        "<p class='note'>A line of a page, with </p> and <b>tags</b> of its own &amp; more.</p>\n"
    )
    body = line * (1_000_000 // len(line))
    text = (
        "<tool_call>\n<function=write_file>\n<parameter=path>\na.html\n</parameter>\n"
        f"<parameter=content>\n{body}\n</parameter>\n</function>\n</tool_call>"
    )
    started = time.process_time()
    parsed = parse_output(text, dialect="qwen3_coder_xml")
    elapsed = time.process_time() - started
    assert parsed.calls[0].arguments["content"] == body
    return len(text) / 1e6 / elapsed


def seconds(read: Callable[[], object]) -> float:
    """CPU seconds that `read` takes."""
    started = time.process_time()
    read()
    return time.process_time() - started


def flood(count: int) -> tuple[float, str]:
    """The slowest of `count` floods of 1 MB, each in a dialect that is drawn for it."""
    draw = random.Random(8)
    worst, slowest = 0.0, ""
    for name, text in draw.sample(list(floods(FLOOD_CHARS)), count):
        dialect = draw.choice(DIALECT_IDS)
        elapsed = seconds(partial(parse_output, text, dialect=dialect, tools=TOOLS))
        if elapsed > worst:
            worst, slowest = elapsed, f"{dialect}, {name}"
    return worst, slowest


def steepest(count: int) -> Growth:
    """The flood whose steps grow most from one size to twice of it; about 2 is linear."""
    draw = random.Random(9)

    def reader() -> Callable[[str], object]:
        return partial(parse_output, dialect=draw.choice(DIALECT_IDS), tools=TOOLS)

    return max(growth(GROWTH_CHARS, count, draw, reader), key=lambda found: found.ratio)


def bounded() -> dict[str, float]:
    """CPU seconds for TOML at its byte cap and hostile documents."""
    toml = "a.b.c = 1\n" * (MAX_DOCUMENT_BYTES // 10 - 20)

    def document(mark: str, kind: str, file: str) -> None:
        with contextlib.suppress(WireError):
            documents.finish(mark * (FLOOD_CHARS // len(mark)), DocumentSpec(kind), file)

    found = {
        "toml_at_its_cap": seconds(partial(parse_output, toml, dialect="toml")),
        "document_of_fences": seconds(partial(document, "```\n", "document", "a.md")),
        "page_of_tables": seconds(partial(document, "<table>", "html-page", "a.html")),
        "page_of_paragraphs": seconds(partial(document, "<p>", "html-page", "a.html")),
    }
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """Score, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--floods", type=int, default=300)
    arguments = parser.parse_args()
    repeats: int = arguments.repeats
    if not SHARED.is_dir():
        print(f"skipped: the recorded cases are not at {SHARED}")
        print(json.dumps({"bench": "wire", "value": None, "unit": "share of cases exact"}))
        return
    recorded, malformed = load("cases_dev.jsonl"), load("malformed.jsonl")
    scores = score_recorded(recorded)
    print(f"\n{'format':<20}{'exact':>8}{'calls':>8}{'cases':>8}{'vLLM':>8}")
    for name, (exact, equal, total) in scores.items():
        peer = f"{VLLM[name][0]}" if name in VLLM else "-"
        note = "  (not counted)" if name in NOT_COUNTED else ""
        print(f"{name:<20}{exact:>8}{equal:>8}{total:>8}{peer:>8}{note}")
    counted = [score for name, score in scores.items() if name not in NOT_COUNTED]
    exact, total = sum(score[0] for score in counted), sum(score[2] for score in counted)
    behind = [name for name, (right, _) in VLLM.items() if scores[name][1] < right]
    right = score_malformed(malformed)
    speed, large = throughput(recorded, repeats), large_answer()
    worst, slowest = flood(arguments.floods)
    steep = steepest(arguments.floods)
    bounds = bounded()
    print(f"\nexact {exact}/{total} = {exact / total:.4f} (goal {GOAL})")
    print(f"behind vLLM on: {', '.join(behind) or 'none'}")
    print(f"malformed, stated action: {right}/{len(malformed)}")
    print(f"{speed:.1f} MB/s over the recorded texts, {large:.0f} MB/s in one 1 MB argument")
    print(f"1 MB floods: {worst:.3f} s at worst ({slowest}), goal {FLOOD_GOAL_SECONDS}")
    print(f"twice the text: {steep.ratio:.2f} times the steps at worst ({steep.flood})")
    print(", ".join(f"{name.replace('_', ' ')} {value:.3f} s" for name, value in bounds.items()))
    peer_right = sum(right for right, _ in VLLM.values())
    peer_total = sum(total for _, total in VLLM.values())
    ours_there = sum(scores[name][1] for name in VLLM)
    result = {
        "bench": "wire",
        "value": round(exact / total, 4),
        "unit": "share of recorded cases exact",
        "goal": GOAL,
        "peers": {"vllm 0.32, calls only, 14 formats": round(peer_right / peer_total, 4)},
        "settings": {
            "cases": total,
            "calls_only_14_formats": round(ours_there / peer_total, 4),
            "formats_behind_vllm": behind,
            "malformed_right": right,
            "malformed_cases": len(malformed),
            "mb_per_s": round(speed, 2),
            "mb_per_s_one_large_argument": round(large, 1),
            "flood_1mb_seconds": round(worst, 4),
            "flood_1mb_slowest": slowest,
            "twice_the_text_steps": round(steep.ratio, 2),
            "twice_the_text_steepest": steep.flood,
            "bounded_seconds": bounds,
            "not_followed": NOT_FOLLOWED,
        },
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
