"""Path and query parameters that several operations share.

Ids are checked for their alphabet before a database sees them: a text that cannot be an id is
rejected with a message of its own.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from serve_app import examples

_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"

RunId = Annotated[
    str,
    Path(description="id of a run", max_length=100, pattern=_ID, examples=[examples.RUN_ID]),
]
SessionId = Annotated[
    str,
    Path(
        description="id of a session", max_length=100, pattern=_ID, examples=[examples.SESSION_ID]
    ),
]
CallId = Annotated[
    str,
    Path(description="id of a call", max_length=200, pattern=_ID, examples=["page-index"]),
]
