"""What the pages of a run share, and what each of them has to fill in.

`contract` is the shared parts and how they are spliced around a page's slot, `requirements` what a
slot must hold, `grammar` what a model may write into it, `slot` how a slot is checked and mended,
`document` how one document is taken out of chatter, `markup` the linear scanner beneath them.
"""
