"""The database: the event log, its projections, and the readers of both.

`store.py` writes (one writer, the orchestrator's recorder), `queries.py` reads (API, CLI, page).
Both know SQLite and PostgreSQL through one SQLAlchemy metadata (`tables.py`). Nothing in here
imports Ray, and importing it opens nothing.
"""
