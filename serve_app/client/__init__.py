"""A deployment from outside: over HTTP, through its orchestrator actor, or by its database alone.

`service.py` says what can be asked; `http.py`, `actor.py` and `database.py` answer it. Code that
follows a run (terminal, job, demo) is written against the protocols.
"""
