"""The media type of a file by its name, from a table of our own: no system table, no guessing.

What is not in the table is bytes to be saved. Text is UTF-8, because the store keeps it so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".csv": "text/csv",
    ".htm": "text/html",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".py": "text/plain",
    ".sql": "text/plain",
    ".svg": "image/svg+xml",
    ".toml": "text/plain",
    ".txt": "text/plain",
    ".xml": "text/xml",
    ".yaml": "text/plain",
    ".yml": "text/plain",
}
_BYTES = "application/octet-stream"
MEDIA_TYPES = (*sorted(set(_TYPES.values())), _BYTES)
"""All types that a file of a run is given with."""


def media_type_of(path: str) -> str:
    """The type of `path`, without parameters."""
    return _TYPES.get(PurePosixPath(path).suffix.lower(), _BYTES)


def is_shown_inline(path: str) -> bool:
    """Whether a browser may show it; anything else it saves."""
    return media_type_of(path) != _BYTES
