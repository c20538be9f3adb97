"""Ctrl-C and SIGTERM at any moment of a program that has started others: one way out, and no second
interrupt that breaks the first one's clean-up.

A signal raises `KeyboardInterrupt` in the main thread, wherever that is. Some places swallow it
(destructors, callbacks of C++ code), so it is remembered too and loops ask with `check`. While
cleaning up (`shielded`), the next signal only says that the end is under way, and the one after
that ends the process at once: what belongs to a local Ray is then ended by its guard.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Made by `catch_interrupts`. `say` tells the person something."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._shields = 0
        self._warned = False
        self.received: int | None = None

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process that the signal ended: 130 for Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def install(self) -> None:
        """Take the signals (again: `ray.init` puts a handler of its own in place of ours)."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if one was received and is not being worked on."""
        if self.received is not None and not self._shields:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Clean up in here."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `KeyboardInterrupt` at once when a signal comes."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.5))
        self.check()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._shields:
            if self._warned:
                os._exit(128 + number)
            self._warned = True
            self._say("Ending already; once more to end at once.")
            return
        self.received = number
        raise KeyboardInterrupt


@contextlib.contextmanager
def catch_interrupts(say: Callable[[str], None]) -> Iterator[Interrupts]:
    """Handle the signals inside as the module says; outside as before. Main thread only."""
    assert threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupts = Interrupts(say)
    interrupts.install()
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
