"""Why a run went as it did, derived from its events alone: events in, an `Explanation` out.

`story` arranges the history. `rules/` diagnose each failed attempt, each plan and the end. `rank`
orders the findings. `cause` is the closed list of causes. `diff` compares two runs.
Nothing here reads a clock, a text or a database. See README.md.
"""
