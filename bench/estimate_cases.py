"""Collect what `bench/estimate.py` is scored on: measures of real files, never their text.

    python bench/estimate_cases.py ROOT... > bench/estimate_cases.jsonl

Walks the roots (the site-packages of an environment, /usr/share/doc), takes files that people wrote
(README texts of distributions, HTML pages, modules, YAML files, plain text), counts their parts as
a prompt could ask for them, and their tokens by the embedded model's tokenizer. At most two files
of a kind from one distribution and `PER_KIND` of a kind, in the order of a hash, so that nobody
chooses. A distribution is wholly in `dev` or wholly in `test`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from actors.engines.weights import resolve_model

PER_KIND = 48
PER_DISTRIBUTION = 2
TOKENS = (80, 8_000)
LONGEST_LINE = 2_000
_KINDS = {".html": "html", ".md": "md", ".py": "py", ".yaml": "yaml", ".yml": "yaml", ".txt": "txt"}
_DULL = re.compile(
    r"licen[cs]e|copying|notice|top_level|entry_points|requirements|sources|copyright|record",
    re.IGNORECASE,
)


def texts(root: Path) -> Iterator[tuple[str, str, str]]:
    """(distribution, kind, text) of every candidate below `root`."""
    for path in sorted(root.rglob("*")):
        kind = _KINDS.get(path.suffix)
        readme = path.name == "METADATA"
        if (kind is None and not readme) or _DULL.search(path.name) or not path.is_file():
            continue
        if path.stat().st_size > 64_000:
            continue
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        distribution = path.relative_to(root).parts[0].split("-")[0].lower()
        if readme:
            head, _, text = text.partition("\n\n")
            kind = "md" if "text/markdown" in head else None
        if kind is not None:
            yield distribution, kind, text


def parts(kind: str, text: str) -> dict[str, int]:
    """How many of each part there are: only what a prompt would ask for."""
    count = Counter[str](words=len(text.split()), lines=text.count("\n") + 1)
    if kind == "html":
        # People who ask for so many words mean those that are read.
        seen = re.sub(r"<(script|style).*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
        count["words"] = len(re.sub(r"<[^>]*>", " ", seen).split())
        for part, tag in (("sections", "h[1-6]"), ("items", "li"), ("rows", "tr")):
            count[part] = len(re.findall(rf"<{tag}[\s>]", text, re.IGNORECASE))
        count["paragraphs"] = len(re.findall(r"<p[\s>]", text, re.IGNORECASE))
    elif kind == "md":
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        count["examples"] = text.count("```") // 2
        count["sections"] = len(re.findall(r"^#{1,6} ", prose, re.MULTILINE))
        count["items"] = len(re.findall(r"^\s*(?:[-*+]|\d+\.) ", prose, re.MULTILINE))
        count["rows"] = len(re.findall(r"^\|", prose, re.MULTILINE))
    elif kind == "py":
        count["functions"] = len(re.findall(r"^\s*(?:async )?def ", text, re.MULTILINE))
        count["classes"] = len(re.findall(r"^\s*class \w", text, re.MULTILINE))
    elif kind == "yaml":
        count["keys"] = len(re.findall(r"^\s*(?:- )?[\w.\-/]+:(?:\s|$)", text, re.MULTILINE))
        count["items"] = len(re.findall(r"^\s*- (?![\w.\-/]+:)", text, re.MULTILINE))
    else:
        count["paragraphs"] = len([block for block in re.split(r"\n\s*\n", text) if block.strip()])
    return {name: number for name, number in count.items() if number}


def main(roots: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(Path(resolve_model("embedded:smollm2")) / "tokenizer.json"))
    found: list[tuple[str, str, str, str]] = []
    seen: set[str] = set()
    for root in roots:
        for distribution, kind, text in texts(Path(root)):
            key = hashlib.sha256(text.encode()).hexdigest()
            if key not in seen and max(map(len, text.splitlines()), default=0) <= LONGEST_LINE:
                seen.add(key)
                found.append((key, distribution, kind, text))
    taken: Counter[tuple[str, str]] = Counter()
    of_kind: Counter[str] = Counter()
    for key, distribution, kind, text in sorted(found):
        measures = parts(kind, text)
        if len(measures) < 3 or taken[distribution, kind] >= PER_DISTRIBUTION:
            continue
        if of_kind[kind] >= PER_KIND:
            continue
        tokens = len(tokenizer.encode(text).ids)
        if not TOKENS[0] <= tokens <= TOKENS[1]:
            continue
        taken[distribution, kind] += 1
        of_kind[kind] += 1
        even = hashlib.sha256(distribution.encode()).digest()[0] % 2 == 0
        case = {"id": key[:10], "kind": kind, "split": "dev" if even else "test", **measures}
        print(json.dumps({**case, "tokens": tokens}))
    print(dict(of_kind), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
