"""A child that was told to ends with its parent, also when the parent is killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
time.sleep(600)
"""
CHILD = """
import os, threading, time
from actors.engines.vllm.parent import end_with
end_with(os.getppid())
print(os.getpid(), flush=True)
time.sleep(600)
"""


def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    watch = select.poll()
    watch.register(os.pidfd_open(child), select.POLLIN)
    assert not watch.poll(200), "it lives as long as its parent does"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert watch.poll(30_000), "it was still there half a minute after its parent"
