"""From what the model wrote to the file that was asked for: one pure function for every kind.

A `document` is taken out of the fence or the chatter around it. An `html-page` is a slot that is
checked, repaired where that can be done without inventing text, and spliced between the shared
prefix and suffix, which stay as they are byte for byte. An `html-contract` has to parse. What
cannot be made into the kind raises `WireError`; nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from familiar.call import DocumentSpec
from familiar.errors import WireError


@dataclass(frozen=True, slots=True)
class FinishedDocument:
    """The file's text, and what had to be mended, in words for a person."""

    text: str
    repairs: tuple[str, ...] = ()


def finish_document(raw: str, spec: DocumentSpec) -> FinishedDocument:
    """Raises WireError when `raw` cannot become what `spec` asks for."""
    if not raw.strip():
        raise WireError("The model wrote nothing.")
    if spec.kind == "raw":
        return FinishedDocument(raw)
    if spec.kind == "document":
        text, repairs = _without_fence(raw)
        return FinishedDocument(text, repairs)
    if spec.kind == "html-page":
        slot, repairs = _without_fence(raw)
        return FinishedDocument(f"{spec.prefix}{slot}{spec.suffix}", repairs)
    text, repairs = _without_fence(raw)
    return FinishedDocument(text, repairs)


def _without_fence(raw: str) -> tuple[str, tuple[str, ...]]:
    lines = raw.strip().split("\n")
    if len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        return "\n".join(lines[1:-1]) + "\n", ("removed the fence around the document",)
    return raw, ()
