"""From a model's answer to the file that was asked for: pure functions, one class a kind.

`kinds` has the kinds by name, `single` takes one document out of chatter, `reasoning` takes the
reasoning off, and `html` holds the contract, the slot and the grammars of pages.
"""

from familiar.documents.kinds import FinishedDocument, finish
from familiar.documents.reasoning import reasoning_in, without_reasoning

__all__ = ["FinishedDocument", "finish", "reasoning_in", "without_reasoning"]
