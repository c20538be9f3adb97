"""From a model's answer to the file that was asked for: one module a kind, one pure function.

`registry` knows the kinds, `kind` is their protocol, `single` takes one document out of chatter,
and `html` holds the contract, the slot and the grammars of pages.
"""

from familiar.documents.kind import FinishedDocument
from familiar.documents.reasoning import reasoning_in, without_reasoning
from familiar.documents.registry import finish

__all__ = ["FinishedDocument", "finish", "reasoning_in", "without_reasoning"]
