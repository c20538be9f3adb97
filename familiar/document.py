"""From what the model wrote to the file that was asked for: one pure function for every kind.

A `document` is taken out of the fence or the chatter around it. An `html-page` is a slot that is
checked, repaired where that can be done without inventing text, and spliced between the shared
prefix and suffix, which stay as they are byte for byte. An `html-contract` has to parse. What
cannot be made into the kind raises `WireError`; nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from familiar.call import DocumentSpec
from familiar.contract.contract import parse_contract
from familiar.contract.document import extract_document
from familiar.contract.requirements import SlotRequirements
from familiar.contract.slot import check_slot, repair_slot
from familiar.errors import WireError


@dataclass(frozen=True, slots=True)
class FinishedDocument:
    """The file's text, and what had to be mended, in words for a person."""

    text: str
    repairs: tuple[str, ...] = ()


def finish_document(raw: str, spec: DocumentSpec, file: str = "") -> FinishedDocument:
    """The text of `file`. Raises WireError when `raw` cannot become what `spec` asks for."""
    if not raw.strip():
        raise WireError("The model wrote nothing.")
    if spec.kind == "raw":
        return FinishedDocument(raw)
    text, repairs = extract_document(raw, file)
    if spec.kind == "html-page":
        return _page(text, repairs, spec)
    if spec.kind == "html-contract":
        parse_contract(text, pages=())
    return FinishedDocument(text, repairs)


def _page(text: str, repairs: tuple[str, ...], spec: DocumentSpec) -> FinishedDocument:
    requirements = SlotRequirements(spec.pricing_table, spec.modal, spec.listing)
    slot = text.strip()
    if check_slot(slot, requirements):
        slot, mended = repair_slot(slot)
        repairs = (*repairs, *mended)
        if problems := check_slot(slot, requirements):
            raise WireError(f"The page is not well-formed: {' '.join(problems[:4])}")
    return FinishedDocument(f"{spec.prefix}{slot}{spec.suffix}", repairs)
