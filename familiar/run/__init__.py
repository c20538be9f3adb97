"""A run as a state machine: events in, commands out; no clock, no I/O, no randomness.

`state` is the fold over the history, `machine` folds one event and answers with the commands that
it makes due, `command` lists the commands, `recovery` decides after a failed attempt. `turn_view`
and `rates` take from the state and the events the values that planning (`familiar.plan`) needs.
"""
