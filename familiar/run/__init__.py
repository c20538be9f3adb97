"""A run as a state machine: events in, commands out; no clock, no I/O, no randomness.

`state` is what a fold over the history gives, `machine` folds one event and answers with the
commands that it makes due, `command` lists what can be commanded, `recovery` is the table that
decides after a failed attempt.
"""
