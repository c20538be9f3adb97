"""Server-sent events read from lines, as far as this API sends them.

A message is its fields up to an empty line; lines that begin with a colon are heartbeats. What the
end of the input cuts off is no message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSentMessage:
    """`event` is empty for the default kind, `id` for a message that cannot be resumed at."""

    data: str
    event: str = ""
    id: str = ""


def read_messages(lines: Iterable[str]) -> Iterator[ServerSentMessage]:
    """Put the messages of a stream together; `lines` come without their ends."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield ServerSentMessage(
                    data="\n".join(fields["data"]),
                    event=fields.get("event", [""])[-1],
                    id=fields.get("id", [""])[-1],
                )
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
