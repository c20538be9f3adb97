"""The shared parts of a run's pages, and the slot that each page fills.

`contract` is the shared parts and how they are spliced around a page's slot, `parts` the elements
that a slot may be asked for, `grammar` the text that a model may write into it, `slot` how it is
read and repaired.
"""
