"""A try is carried out once, an old orchestrator is refused, a publication survives any crash."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors.crash import CrashSpec, crasher
from actors.engines.scripted import ScriptedEngine
from actors.replica.table import Workbench
from familiar.call import (
    CallKey,
    CallOrder,
    CallOutcome,
    Deadlines,
    Publication,
    Published,
    partial_path,
)
from familiar.engine import Delta, GenerateRequest, Message
from familiar.errors import ConfigError, FailureClass, StaleEpoch, WorkspaceError
from tests.actors.until import until

LIMITS = Deadlines(30, 30, 60)


def order(call: str = "c", *, epoch: int = 1, attempt: int = 1, workspace: str = "") -> CallOrder:
    key = CallKey("run", call, attempt)
    request = GenerateRequest(str(key), (Message("user", "Write."),))
    return CallOrder(
        key=key,
        epoch=epoch,
        alias="grandpa",
        request=request,
        deadlines=LIMITS,
        mode="output_file" if workspace else "text",
        workspace=workspace,
        output_file="page.html" if workspace else None,
    )


class Bench:
    """A workbench on a scripted engine; `started` are the tries that reached the engine."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.workbench = Workbench()
        self.started: list[str] = []

    def _stream(self, wanted: CallOrder) -> AsyncIterator[Delta]:
        self.started.append(str(wanted.key))
        return self.engine.generate(wanted.request)

    async def carry_out(self, wanted: CallOrder) -> CallOutcome:
        return await self.workbench.carry_out(wanted, self._stream)


async def bench(script: object = None) -> Bench:
    engine = ScriptedEngine(script)
    await engine.start()
    return Bench(engine)


SLOW = {"rates": {"tokens_per_s": 100}, "answer": {"tokens": 30}}


# -- tries ---------------------------------------------------------------------------------------


async def test_asking_again_attaches_to_the_try_and_later_gives_the_same_outcome() -> None:
    made = await bench(SLOW)
    first = asyncio.create_task(made.carry_out(order()))
    await until(lambda: made.started)
    second, later = await asyncio.gather(first, made.carry_out(order()))
    assert second is later is await made.carry_out(order())
    assert made.started == ["run/c/1"]
    await made.carry_out(order(attempt=2))
    assert made.started == ["run/c/1", "run/c/2"]


async def test_a_try_goes_on_when_the_asker_goes_away_and_is_adopted_by_key() -> None:
    made = await bench(SLOW)
    gone = asyncio.create_task(made.carry_out(order()))
    await until(lambda: made.started)
    gone.cancel()
    await asyncio.wait([gone])
    assert made.workbench.held(2) == [(order().key, "running")]
    outcome = await made.carry_out(order(epoch=2))
    assert (outcome.failure, outcome.usage.output_tokens) == (None, 30)
    assert made.started == ["run/c/1"]
    assert made.workbench.held() == [(order().key, "ended")]


async def test_released_tries_leave_the_table_and_running_ones_stay() -> None:
    made = await bench(SLOW)
    await made.carry_out(order("a"))
    going = asyncio.create_task(made.carry_out(order("b")))
    await until(lambda: len(made.started) == 2)
    made.workbench.release([order("a").key, order("b").key, order("unknown").key])
    assert made.workbench.held() == [(order("b").key, "running")]
    await going


async def test_ended_tries_that_nobody_releases_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.replica.table._ENDED_CHARS", 100)
    made = await bench({"answer": "x" * 20})  # 40 characters in raw and text
    for number in range(10):
        await made.carry_out(order(f"c{number}"))
    assert [key.call_id for key, _ in made.workbench.held()] == ["c8", "c9"]


async def test_cancelling_ends_a_try_for_everybody_who_waits() -> None:
    made = await bench({"rules": [{"faults": [{"kind": "stall", "after_tokens": 3}]}]})
    waiting = [asyncio.create_task(made.carry_out(order())) for _ in range(2)]
    await until(lambda: made.engine.stats().output_tokens == 3)
    progress = made.workbench.progress()[order().key]
    assert progress.tokens == 3
    assert await made.workbench.cancel(order().key)
    outcomes = await asyncio.gather(*waiting)
    for outcome in outcomes:
        assert outcome.failure is not None
        assert outcome.failure.failure_class == FailureClass.CANCELLED
    assert made.engine.stats().running == 0
    assert made.workbench.progress() == {}
    assert not await made.workbench.cancel(order().key)
    assert not await made.workbench.cancel(order("unknown").key)


async def test_the_usual_rate_is_learnt_and_makes_a_slow_backend_visible() -> None:
    made = await bench(
        {
            "rates": {"tokens_per_s": 1000},
            "answer": {"tokens": 40},
            "rules": [
                {
                    "when": {"call": "slow"},
                    "answer": {"tokens": 5000},
                    "faults": [{"kind": "slow", "tokens_per_s": 20}],
                }
            ],
        }
    )
    for number in range(3):
        assert (await made.carry_out(order(f"c{number}"))).failure is None
    slow = replace(order("slow"), deadlines=Deadlines(30, 30, 0.5))
    failure = (await made.carry_out(slow)).failure
    assert failure is not None
    assert failure.failure_class == FailureClass.BACKEND_SLOW


# -- epochs --------------------------------------------------------------------------------------


async def test_a_lower_epoch_is_refused_in_everything(tmp_path: Path) -> None:
    made = await bench()
    await made.carry_out(order(epoch=5))
    with pytest.raises(StaleEpoch, match="epoch 5"):
        await made.carry_out(order("other", epoch=4))
    with pytest.raises(StaleEpoch):
        await made.carry_out(order(epoch=4))
    with pytest.raises(StaleEpoch):
        made.workbench.held(4)
    with pytest.raises(StaleEpoch):
        await made.workbench.publish(publication(tmp_path, "text", epoch=4))
    assert made.started == ["run/c/1"]
    assert os.listdir(tmp_path) == []
    made.workbench.held(6)
    with pytest.raises(StaleEpoch, match="epoch 6"):
        await made.carry_out(order(epoch=5))
    await made.carry_out(order(epoch=6))


# -- publishing ----------------------------------------------------------------------------------


def publication(
    root: Path, text: str, *, path: str = "page.html", epoch: int = 1, call: str = "c"
) -> Publication:
    return Publication(
        key=CallKey("run", call, 1),
        epoch=epoch,
        workspace=str(root),
        path=path,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
        alias="grandpa",
    )


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def assert_published(root: Path, published: Published, text: str, commits: int = 1) -> None:
    assert (root / published.path).read_text() == text
    assert git(root, "show", f"{published.commit}:{published.path}") == text.strip()
    assert git(root, "rev-list", "--count", "HEAD") == str(commits)
    assert git(root, "status", "--porcelain") == ""
    assert published.bytes == len(text.encode())


async def test_the_streamed_file_is_renamed_and_committed(tmp_path: Path) -> None:
    made = await bench({"answer": "<p>hello</p>"})
    await made.workbench.create_workspace(str(tmp_path))
    outcome = await made.carry_out(order(workspace=str(tmp_path)))
    temporary = tmp_path / partial_path(outcome.key)
    inode = temporary.stat().st_ino
    published = await made.workbench.publish(publication(tmp_path, outcome.text))
    assert not temporary.exists()
    assert (tmp_path / "page.html").stat().st_ino == inode
    assert_published(tmp_path, published, "<p>hello</p>")


async def test_publishing_is_safe_to_repeat_from_every_state_of_the_files(tmp_path: Path) -> None:
    workbench = Workbench()
    wanted = publication(tmp_path, "words\n")
    first = await workbench.publish(wanted)  # neither file there: written from the text
    assert_published(tmp_path, first, "words\n")
    assert await workbench.publish(wanted) == first  # all done
    temporary = tmp_path / partial_path(wanted.key)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text("something else")
    assert await workbench.publish(wanted) == first  # a temporary file that is not it
    temporary.write_text("words\n")
    assert await workbench.publish(wanted) == first  # one that is
    assert not temporary.exists()
    together = await asyncio.gather(*(workbench.publish(wanted) for _ in range(5)))
    assert set(together) == {first}
    assert_published(tmp_path, first, "words\n")


async def test_a_repeat_does_not_undo_what_came_later(tmp_path: Path) -> None:
    workbench = Workbench()
    old = await workbench.publish(publication(tmp_path, "old\n", call="one"))
    await workbench.publish(publication(tmp_path, "new\n", call="two"))
    assert await Workbench().publish(publication(tmp_path, "old\n", call="one")) == old
    assert (tmp_path / "page.html").read_text() == "new\n"
    assert git(tmp_path, "rev-list", "--count", "HEAD") == "2"


@pytest.mark.parametrize("path", ["../page.html", "link/page.html", ".git/hooks/x", "/tmp/x"])
async def test_a_path_that_leaves_the_workspace_is_refused_and_loses_nothing(
    tmp_path: Path, path: str
) -> None:
    root, outside = tmp_path / "ws", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    made = await bench({"answer": "kept"})
    await made.workbench.create_workspace(str(root))
    await made.carry_out(order(workspace=str(root)))
    with pytest.raises(WorkspaceError) as caught:
        await made.workbench.publish(publication(root, "kept", path=path))
    assert caught.value.path == path
    assert os.listdir(outside) == []
    assert not (tmp_path / "page.html").exists()
    assert not (root / ".git/hooks/x").exists()
    assert (root / partial_path(order().key)).read_text() == "kept"


async def test_a_full_disk_while_publishing_is_named_and_a_repeat_succeeds(
    small_disk: Path,
) -> None:
    workbench = Workbench()
    await workbench.create_workspace(str(small_disk))
    hog = small_disk / "hog"
    free = os.statvfs(small_disk)
    hog.write_bytes(b"x" * max(free.f_bavail * free.f_bsize - 4096, 0))
    text = "word " * 2000
    with pytest.raises(WorkspaceError, match=r"disk .* full|No space left"):
        await workbench.publish(publication(small_disk, text))
    hog.unlink()
    published = await workbench.publish(publication(small_disk, text))
    assert (small_disk / "page.html").read_text() == text
    assert git(small_disk, "cat-file", "-t", published.commit) == "commit"


async def test_a_text_that_is_not_what_its_hash_says_is_refused(tmp_path: Path) -> None:
    wrong = replace(publication(tmp_path, "text"), text="other")
    with pytest.raises(WorkspaceError, match="hash"):
        await Workbench().publish(wrong)
    assert os.listdir(tmp_path) == []


# -- crashes -------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, os, sys
from actors.crash import CrashSpec, crasher
from actors.replica.table import Workbench
from familiar.call import CallKey, Publication

async def main(fields):
    fields["key"] = CallKey(*fields["key"])
    workbench = Workbench(crasher(CrashSpec.from_environment(os.environ)))
    published = await workbench.publish(Publication(**fields))
    print(published.commit)

asyncio.run(main(json.loads(sys.argv[1])))
"""


def publish_in_a_process(wanted: Publication, crash: str, marker: Path) -> int:
    fields = {
        "key": [wanted.key.run_id, wanted.key.call_id, wanted.key.attempt],
        "epoch": wanted.epoch,
        "workspace": wanted.workspace,
        "path": wanted.path,
        "sha256": wanted.sha256,
        "text": wanted.text,
        "alias": wanted.alias,
    }
    environment = os.environ | {"FAMILIAR_CRASH": crash, "FAMILIAR_CRASH_ONCE": str(marker)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(fields)],
        env=environment,
        cwd=Path(__file__).resolve().parents[2],
        check=False,
        timeout=60,
    )
    return done.returncode


@pytest.mark.parametrize("point", ["renamed", "committed"])
def test_a_kill_between_the_steps_of_a_publication_is_mended_by_repeating_it(
    tmp_path: Path, point: str
) -> None:
    root = tmp_path / "ws"
    marker = tmp_path / "crashed"
    wanted = publication(root, "words\n")
    asyncio.run(Workbench().create_workspace(str(root)))
    temporary = root / partial_path(wanted.key)
    temporary.parent.mkdir(parents=True)
    temporary.write_text("words\n")

    assert publish_in_a_process(wanted, f"{point}:1", marker) == -signal.SIGKILL
    assert marker.exists()
    assert not temporary.exists()
    assert (root / "page.html").read_text() == "words\n"
    committed = point == "committed"
    assert bool(git(root, "rev-list", "--all")) == committed

    assert publish_in_a_process(wanted, f"{point}:1", marker) == 0  # the marker lets it live
    again = asyncio.run(Workbench().publish(wanted))
    assert_published(root, again, "words\n")


def test_a_crash_strikes_at_the_nth_time_and_only_at_its_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed: list[int] = []
    monkeypatch.setattr("actors.crash.os.kill", lambda pid, number: killed.append(number))
    marker = tmp_path / "marker"
    crash = crasher(CrashSpec("renamed", 2, str(marker)))
    crash("renamed")
    crash("committed")
    crash("committed")
    assert (killed, marker.exists()) == ([], False)
    crash("renamed")
    assert (killed, marker.exists()) == ([signal.SIGKILL], True)
    successor = crasher(CrashSpec("renamed", 1, str(marker)))
    successor("renamed")
    assert killed == [signal.SIGKILL]


def test_the_crash_variable_is_read_strictly() -> None:
    read = CrashSpec.from_environment
    assert read({}) is None
    assert read({"FAMILIAR_CRASH": "renamed:3"}) == CrashSpec("renamed", 3)
    assert read({"FAMILIAR_CRASH": "renamed", "FAMILIAR_CRASH_ONCE": "/x"}) == CrashSpec(
        "renamed", 1, "/x"
    )
    for wrong in ("renamed:0", "renamed:x", ":1"):
        with pytest.raises(ConfigError, match="FAMILIAR_CRASH"):
            read({"FAMILIAR_CRASH": wrong})
