"""A child process that ends when its parent has ended, however that ended.

vLLM's engine core outlives a replica that is killed and keeps its memory, so it watches the process
that started it. The watch is a thread that sleeps in the kernel until the parent's pidfd is ready:
nothing is polled, and unlike a parent-death signal it does not fire when only the thread that
started the child has ended.
"""

from __future__ import annotations

import os
import select
import threading


def end_with(parent: int) -> None:
    """End this process at once, without clean-up, as soon as process `parent` has ended."""

    def wait() -> None:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll()
        os._exit(1)

    handle = os.pidfd_open(parent)
    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
