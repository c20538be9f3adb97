"""The shared parts of a run's pages, and the slot that each page fills.

`contract` is the shared parts and how they are spliced around a page's slot, `requirements` what a
slot must hold, `grammar` what a model may write into it, `slot` how a slot is read and repaired.
"""
