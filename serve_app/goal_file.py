"""A goal read from the command line or a file, bounded before it is in memory."""

from __future__ import annotations

import sys
from pathlib import Path

from familiar.errors import InputError

# Far above any api.max_goal_bytes that makes sense; the service applies its own limit.
MAX_BYTES = 64_000_000


def read_goal_text(goal: str | None, file: str | None) -> str:
    """The goal from one of the two; `-` is stdin. Raises `InputError`."""
    if (goal is None) == (file is None):
        raise InputError(
            "Give the goal either as an argument or with -f FILE.",
            field="goal",
            remedy="Example: familiar run 'Make `index.html`', or -f goal.md, or -f -.",
        )
    if goal is not None:
        return goal
    assert file is not None
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).expanduser().open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"The goal {file} cannot be read: {error.strerror}.", field="file"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"The goal {file} is not UTF-8 text: byte {error.start} cannot be read.", field="file"
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError(f"The goal {file} has more than {MAX_BYTES} bytes.", field="file")
    return text
