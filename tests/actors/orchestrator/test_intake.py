"""A run in a session goes on where the last one ended: the same files, the same message stack."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from actors.orchestrator.intake import Accepted, Intake
from actors.store.failure import StoreReplaced
from actors.store.store import Store
from bench.in_process import InProcessRun
from familiar.context.stack import read_stack, render_bytes
from familiar.event import Event, RunSubmitted, TurnStarted
from familiar.goal import read_goal
from familiar.service import SubmitRun
from tests.actors.orchestrator.test_briefer import config, content, prompts, run, sides

MORE = "Now add `imprint.html`."


async def go_on(store_folder: Path, first: InProcessRun) -> Accepted:
    """Record the first run in a database, and submit another goal to its session."""
    url = f"sqlite:///{store_folder}/familiar.db"
    store = Store.open(url, create=True)
    try:
        epoch = store.take_epoch()
        store.append([replace(event, epoch=epoch) for event in first.history], first.kept)
        settings = config(store={"url": url}, workspace={"root": str(store_folder)})
        intake = Intake(settings, "c", store)
        goal = read_goal(MORE, max_bytes=1 << 20)
        return await intake.accept(SubmitRun(MORE, session_id="s-1"), goal)
    finally:
        store.close()


async def submitted(store_folder: Path, first: InProcessRun) -> tuple[RunSubmitted, str]:
    """What the session's next run begins with, and its stack."""
    draft = (await go_on(store_folder, first)).draft
    assert draft is not None
    assert isinstance(draft.body, RunSubmitted)
    assert draft.body.stack is not None
    return draft.body, draft.texts[draft.body.stack.sha256]


async def test_the_stack_has_what_was_asked_answered_and_concluded(tmp_path: Path) -> None:
    first = await asyncio.to_thread(run)
    body, recorded = await submitted(tmp_path, first)
    kinds = [message.kind for message in read_stack(recorded).messages]
    assert kinds[-3:] == ["turn", "plan", "synthesis"]
    assert "The site is there." in read_stack(recorded).messages[-1].text
    assert sorted(file.path for file in body.inherited) == sorted(first.files())


async def test_the_next_prompt_begins_with_every_byte_of_the_last(tmp_path: Path) -> None:
    first = await asyncio.to_thread(run)
    _, recorded = await submitted(tmp_path, first)
    second = await asyncio.to_thread(run, stack=recorded, run_id="r-2", inherited=first.files())
    last, after = prompts(first, "plan")[-1], prompts(second, "plan")[0]
    assert render_bytes(after.brief.messages).startswith(render_bytes(last.brief.messages))
    assert sides(after)[-3:] == ["user", "assistant", "user"]
    assert "The site is there." in content(after)


async def test_a_key_is_not_answered_from_a_database_that_was_put_back(tmp_path: Path) -> None:
    """The run of the key is in the copy; nothing is written, so no commit would notice."""
    path = tmp_path / "familiar.db"
    store = Store.open(f"sqlite:///{path}", create=True)
    goal = read_goal(MORE, max_bytes=1 << 20)
    intake = Intake(config(store={"url": f"sqlite:///{path}"}), "c", store)
    request = SubmitRun(MORE, idempotency_key="k")
    draft = (await intake.accept(request, goal)).draft
    assert draft is not None
    epoch = store.take_epoch()
    store.append([Event(draft.run_id, 1, epoch, draft.at, draft.body)], draft.texts)
    assert (await intake.accept(request, goal)).receipt.run_id == draft.run_id
    copy = sqlite3.connect(tmp_path / "copy.db")
    with sqlite3.connect(path) as whole:
        whole.backup(copy)
    whole.close()
    copy.close()
    store.append([Event(draft.run_id, 2, epoch, draft.at, TurnStarted(turn=1))], {})
    path.write_bytes((tmp_path / "copy.db").read_bytes())
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink()
    with pytest.raises(StoreReplaced):
        await intake.accept(request, goal)
    store.close()
