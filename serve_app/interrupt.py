"""Ctrl-C and SIGTERM at any moment of a program that has started others: one way out, and no second
interrupt that breaks the first one's clean-up.

A signal raises `KeyboardInterrupt` in the main thread. Three things stand in the way, and each has
its answer. Some places swallow the exception (destructors, callbacks of C++ code): it is
remembered, and loops ask with `check`. Clean-up must not be interrupted (`shielded`): the next
signal only says that the end is under way, the one after that ends the process at once. And Python
handles a signal only between two of its instructions, while starting Ray can be in C++ for a
minute: a thread that the signal wakes ends the process when the main thread has not reacted in
`PATIENCE_S`.

Ending at once leaves nothing behind either: what belongs to a local Ray is ended by its guard.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import typer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 3.0


class Interrupts:
    """Made by `catch_interrupts`. `say` tells the person something."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._shields = 0
        self._warned = False
        self._handled = 0
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

    def watch(self, woken: socket.socket, stop: threading.Event) -> None:
        """In a thread: end the process when the main thread does not come to handle a signal."""
        while not stop.is_set():
            if not select.select([woken], [], [], 0.5)[0]:
                continue
            for number in woken.recv(64):
                if number not in SIGNALS:
                    continue
                handled = self._handled
                if stop.wait(PATIENCE_S):
                    return
                if not self._shields and self._handled == handled and self.received is None:
                    self._say("Ending now: the starting program does not react.")
                    os._exit(128 + number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._handled += 1
        if self._shields:
            if self._warned:
                os._exit(128 + number)
            self._warned = True
            self._say("Already ending; repeat to end immediately.")
            return
        self.received = number
        raise KeyboardInterrupt


@contextlib.contextmanager
def catch_interrupts(say: Callable[[str], None]) -> Iterator[Interrupts]:
    """Handle the signals inside as the module says; outside as before. An interrupt that comes
    through sets the exit code of the command. Main thread only."""
    assert threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupts = Interrupts(say)
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    stop = threading.Event()
    watcher = threading.Thread(
        target=interrupts.watch, args=(woken, stop), name="interrupts", daemon=True
    )
    former = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    watcher.start()
    interrupts.install()
    try:
        yield interrupts
    except KeyboardInterrupt:
        raise typer.Exit(interrupts.exit_code) from None
    finally:
        stop.set()
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        watcher.join()
        woken.close()
        waker.close()
        # CPython remembers an interrupt that left an `exec` of source text (each dataclass has one)
        # and then ends the process by SIGINT, whatever the exit code. The next `exec` clears that.
        exec("")
