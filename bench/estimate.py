"""How well the estimator of output lengths does, against the lengths of real files.

    python -m bench.estimate [--fit]

The truth is `estimate_cases.jsonl`: measures of README texts, HTML pages, modules, YAML files and
plain texts of installed packages, with their tokens by the embedded model's tokenizer, collected by
`estimate_cases.py`. From a file's measures a prompt is written, in one of several wordings that its
hash chooses: half of the prompts ask for the parts ("five sections and 12 list items"), half for a
rounded length ("about 400 words"). The estimator reads the prompt and is compared with the file.

Constants are fitted on the `dev` half only (`--fit` prints what would be better there); the figures
are of the `test` half, whose distributions the dev half does not have. Its limits: people wrote
these files, and a model that is asked for the same parts may write them shorter.

False positives: share of the files that could be written within the deadline at the stated rate,
and that `oversized` would have refused; and how many of the others it refuses.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import report
from familiar.event import PlannedCall
from familiar.plan import estimate
from familiar.plan.asks import LENGTHS, Asks, read_asks

CASES = Path(__file__).with_name("estimate_cases.jsonl")
RATE, DEADLINES = 20.0, (30.0, 60.0, 120.0)
"""Tokens/s of one call, and seconds; 30 s at 20 tokens/s is about the median file."""

_PARTS = {
    "sections": ("section", "heading"),
    "paragraphs": ("paragraph",),
    "items": ("list item", "bullet point"),
    "rows": ("table row",),
    "examples": ("code example", "code block"),
    "functions": ("function", "method"),
    "classes": ("class",),
    "keys": ("key", "setting"),
}
_SMALL = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LEADS = (
    "Write {file} with {asks}.",
    "Create the file {file}. It should have {asks}.",
    "Generate {file}: {asks}. Keep the tone plain.",
    "Please produce {file} for the project, containing {asks}.",
)


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    split: str
    tokens: int
    style: str
    prompt: str
    file: str


def cases() -> list[Case]:
    """Every file twice: once asked for by its parts, once by its length."""
    found = []
    for line in CASES.read_text("utf-8").splitlines():
        row = json.loads(line)
        dice = int(row["id"], 16)
        file = f"file-{dice % 97}.{row['kind']}"
        for style, asks in (("parts", _parts(row, dice)), ("length", _length(row, dice))):
            prompt = _LEADS[dice // 7 % len(_LEADS)].format(file=file, asks=asks)
            found.append(Case(row["kind"], row["split"], row["tokens"], style, prompt, file))
    return found


def _parts(row: dict[str, int], dice: int) -> str:
    asks = []
    for index, (part, names) in enumerate(_PARTS.items()):
        count = row.get(part, 0)
        if not count:
            continue
        name = names[(dice >> index) % len(names)]
        if count > 1:
            name += "es" if name.endswith("s") else "s"
        number = _SMALL[count] if count <= 10 and dice >> index & 1 else str(count)
        asks.append(f"{number} {name}")
    return " and ".join([", ".join(asks[:-1]), asks[-1]] if len(asks) > 1 else asks)


def _length(row: dict[str, int], dice: int) -> str:
    unit = "lines" if row["kind"] in {"py", "yaml"} or dice % 5 == 0 else "words"
    digits = 10 ** max(0, len(str(row[unit])) - 2)
    return f"about {max(1, round(row[unit] / digits)) * digits} {unit}"


def errors(scored: Iterable[Case]) -> list[float]:
    """|log2(estimated / real)| of each case."""
    return [abs(math.log2(max(1, tokens_of(case)) / case.tokens)) for case in scored]


def estimate_of(case: Case) -> estimate.Estimate:
    call = PlannedCall(id="c", alias="a", prompt=case.prompt, output_file=case.file)
    return estimate.estimate_output(call)


def tokens_of(case: Case) -> int:
    return estimate_of(case).tokens


def within_two(found: Sequence[float]) -> float:
    return sum(1 for error in found if error <= 1.0) / len(found)


def refusals(scored: Sequence[Case], deadline: float) -> tuple[float, float]:
    """(false positives among files that fit, refused among files that do not)."""
    limit = RATE * deadline
    fit = [case for case in scored if case.tokens <= limit]
    large = [case for case in scored if case.tokens > limit]
    false = sum(1 for case in fit if estimate_of(case).at_least > limit)
    right = sum(1 for case in large if estimate_of(case).at_least > limit)
    return false / max(1, len(fit)), right / max(1, len(large))


def fit(dev: Sequence[Case]) -> None:
    """Coordinate descent on the mean |log2 error| of the dev half, kind by kind; prints the
    constants that it ends at, and the tenth percentiles for SURE and SURE_LENGTH."""
    for kind in dict.fromkeys(case.kind for case in dev):
        table = dict(estimate.TOKENS_PER[kind])
        own = [
            (read_asks(case.prompt), case.file, case.tokens) for case in dev if case.kind == kind
        ]
        units = [unit for unit in table if unit not in {"file", "page"}]
        best = _loss(own, kind, table)
        for _ in range(6):
            for unit in units:
                for factor in (0.5, 0.7, 0.85, 0.95, 1.05, 1.2, 1.4, 2.0):
                    trial = {**table, unit: table[unit] * factor}
                    loss = _loss(own, kind, trial)
                    if loss < best - 1e-6:
                        best, table = loss, trial
        table["file"] = table["page"] = statistics.median(tokens for _, _, tokens in own)
        print(
            kind, f"mean {best:.3f}", {unit: float(f"{value:.2g}") for unit, value in table.items()}
        )
    for style in ("parts", "length"):
        ratios = sorted(case.tokens / tokens_of(case) for case in dev if case.style == style)
        print(style, "tenth percentile of real / estimated:", round(ratios[len(ratios) // 10], 3))


def _loss(own: Sequence[tuple[Asks, str, int]], kind: str, table: dict[str, float]) -> float:
    """With a weak pull of every constant towards the starting one, which few cases cannot move."""
    kept = dict(estimate.TOKENS_PER)
    pull = sum(abs(math.log2(table[unit] / kept[kind][unit])) for unit in table)
    estimate.TOKENS_PER = {**kept, kind: table}
    try:
        found = [
            abs(math.log2(max(1, estimate.estimate_asks(asks, file).tokens) / tokens))
            for asks, file, tokens in own
        ]
    finally:
        estimate.TOKENS_PER = kept
    return statistics.fmean(found) + 0.2 * pull / len(own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--fit", action="store_true", help="print constants fitted on the dev half")
    options = parser.parse_args()
    known = cases()
    if options.fit:
        fit([case for case in known if case.split == "dev"])
    figures: dict[str, float] = {}
    for split in ("dev", "test"):
        half = [case for case in known if case.split == split]
        groups = {"all": half}
        groups |= {style: [c for c in half if c.style == style] for style in ("parts", "length")}
        kinds = dict.fromkeys(case.kind for case in half)
        groups |= {f"parts {k}": [c for c in groups["parts"] if c.kind == k] for k in kinds}
        for name, group in groups.items():
            found = errors(group)
            middle, share = statistics.median(found), within_two(found)
            print(
                f"{split:4} {name:12} n={len(group):3} median |log2 error| {middle:.2f}, "
                f"within a factor 2 {share:.0%}"
            )
            figures[f"{split} {name}"] = middle
            figures[f"{split} {name} within 2"] = share
        for deadline in DEADLINES:
            false, right = refusals(half, deadline)
            print(
                f"{split:4} oversized at {deadline:g} s and {RATE:g} tokens/s: {false:.1%} of what "
                f"fits is refused, {right:.0%} of what does not fit"
            )
            figures[f"{split} false {deadline:g}"] = false
            figures[f"{split} refused {deadline:g}"] = right
    test = [case for case in known if case.split == "test"]
    usual = statistics.median(c.tokens for c in known if c.split == "dev")
    constant = statistics.median(abs(math.log2(usual / case.tokens)) for case in test)
    print(f"one constant for all ({usual:g} tokens): median |log2 error| {constant:.2f}")
    report(
        "estimate",
        value=figures["test all"],
        unit="median |log2(estimated / real tokens)|, test half",
        goal="<= 1 (a factor of 2), false positives of oversized <= 5 %",
        peers={"one constant": constant},
        settings={
            "cases": len(known),
            "test": len(test),
            "within a factor 2": round(figures["test all within 2"], 3),
            "within a factor 2, parts only": round(figures["test parts within 2"], 3),
            "false positives": {
                f"{d:g} s": round(figures[f"test false {d:g}"], 4) for d in DEADLINES
            },
            "refused rightly": {
                f"{d:g} s": round(figures[f"test refused {d:g}"], 3) for d in DEADLINES
            },
            "tokens/s": RATE,
            "units": sorted(LENGTHS),
        },
    )


if __name__ == "__main__":
    main()
