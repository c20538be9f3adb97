"""Which file names a plan may write to: relative, plain, inside the workspace.

The kernel has the last word when the file is opened (`openat2` with `RESOLVE_BENEATH`); this check
exists to refuse a bad plan before it costs a model call, and to say why.
"""

from __future__ import annotations

MAX_PATH = 240
_RESERVED = (".git", ".familiar")


def path_problem(path: str) -> str | None:
    """Why `path` cannot be an output_file, or None when it can."""
    if not path or len(path) > MAX_PATH:
        return f"it must have between 1 and {MAX_PATH} characters"
    if any(ord(char) < 32 or ord(char) == 127 or char == "\\" for char in path):
        return "it has a control character or a backslash"
    if path.startswith(("/", "~")):
        return "it must be relative to the workspace"
    parts = path.split("/")
    if ".." in parts or "." in parts or "" in parts:
        return "it may not contain '..', '.' or empty parts"
    if parts[0].lower() in _RESERVED:
        return f"{parts[0]} belongs to the harness"
    return None
