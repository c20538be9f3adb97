"""Why a run went as it did, derived from its events alone: events in, an `Explanation` out.

`story` arranges the history, `rules/` says what each failed try, plan and end looks like, `rank`
orders what was found, `cause` is the closed list of causes; `digest` and `diff` compare two runs.
Nothing here reads a clock, a text or a database. See README.md.
"""
