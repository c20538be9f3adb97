"""Ctrl-C and SIGTERM: one way out, remembered where it is swallowed, harmless to a clean-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serve_app.interrupt import catch_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_interrupt_with_the_exit_code_of_a_shell(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with catch_interrupts(lambda text: None) as interrupts:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert interrupts.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_the_exit_code_holds_wherever_the_interrupt_came(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, sys\n"
        "from serve_app.interrupt import catch_interrupts\n"
        "with catch_interrupts(print) as interrupts:\n"
        "    try:\n"
        "        exec('os.kill(os.getpid(), signal.SIGTERM)')\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
        "sys.exit(interrupts.exit_code)\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-m", "interrupted"], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == 128 + signal.SIGTERM


def test_an_interrupt_that_was_swallowed_is_raised_at_the_next_look() -> None:
    with catch_interrupts(lambda text: None) as interrupts:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            pass
        with pytest.raises(KeyboardInterrupt):
            interrupts.wait(30)
        with interrupts.shielded():
            interrupts.check()


def test_a_clean_up_is_not_broken_by_the_next_signal() -> None:
    told: list[str] = []
    with catch_interrupts(told.append) as interrupts, interrupts.shielded():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    assert told == ["Already ending; repeat to end immediately."]
    assert interrupts.received is None


def test_a_clean_up_that_hangs_ends_at_the_one_after() -> None:
    program = (
        "import time\n"
        "from serve_app.interrupt import catch_interrupts\n"
        "with catch_interrupts(lambda text: print(text, flush=True)) as interrupts:\n"
        "    with interrupts.shielded():\n"
        "        print('cleaning', flush=True)\n"
        "        while True:\n            time.sleep(1)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    assert "repeat" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.stdout.close()


def test_a_main_thread_that_is_deaf_does_not_keep_the_process() -> None:
    # Inside C, as Ray is while it starts: locking a mutex twice does not return for a signal.
    program = (
        "import ctypes\n"
        "from serve_app.interrupt import catch_interrupts\n"
        "mutex, libc = ctypes.create_string_buffer(256), ctypes.CDLL(None)\n"
        "with catch_interrupts(lambda text: print(text, flush=True)):\n"
        "    print('starting', flush=True)\n"
        "    for _ in range(2):\n        libc.pthread_mutex_lock(mutex)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert "Ending now" in process.stdout.read()
    process.stdout.close()
