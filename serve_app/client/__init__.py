"""A deployment from outside: over HTTP, through its orchestrator actor, or by its database alone.

`service.py` defines the operations; `http.py`, `actor.py` and `database.py` answer it. Code that
follows a run (terminal, job, demo) is written against the protocols.
"""
