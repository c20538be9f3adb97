"""The workspace is asked before a model is: when a goal is submitted, and when a plan is judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.orchestrator.actor import Orchestrator
from actors.workspace.actor import WorkspaceActor
from familiar import event as ev
from familiar.call import CallOrder, CallOutcome, Publication, Published, Timing, Usage
from familiar.errors import CallError, Conflict, FailureClass, WorkspaceError
from familiar.goal import read_goal
from familiar.limits import RunLimits
from familiar.run.machine import RunMachine
from familiar.service import SubmitRun
from tests.actors.deployment import scripted_config
from tests.actors.orchestrator.test_performer import Around, Performer
from tests.actors.workspace.user_repository import git, user_repository


def plan(file: str) -> str:
    call = {"id": "one", "alias": "naughty", "prompt": f"Write {file}.", "output_file": file}
    return json.dumps({"continue": False, "worker_calls": [call]})


class WithFiles(Around):
    """Plans one file after another, and publishes into a real workspace."""

    files: Sequence[str] = ()
    publisher: WorkspaceActor
    planned = 0

    async def attempt(self, replica: str, order: CallOrder) -> CallOutcome:
        self.attempts.append((replica, order.key))
        text = "All is well.\n"
        if order.key.call_id.startswith("plan-"):
            text = plan(self.files[self.planned])
            self.planned += 1
        return CallOutcome(
            order.key, Timing(started_at=1.0, ended_at=2.0), Usage(), text=text, raw=text
        )

    async def unwritable(self, root: str, paths: Sequence[str]) -> dict[str, str]:
        return await self.publisher.unwritable(root, paths)

    async def publish(self, publication: Publication) -> Published:
        return await self.publisher.publish(publication)


async def test_a_plan_that_the_repository_cannot_take_is_asked_again_before_any_text_is_made(
    tmp_path: Path,
) -> None:
    root = user_repository(tmp_path)
    (root / "page.md").write_text("mine\n")
    workspace = {"root": str(tmp_path / "all"), "repository": str(root)}
    config = scripted_config(tmp_path, workspace=workspace, orchestrator={"plan_tries": 3})
    around = WithFiles(config)
    around.files = ("Makefile", "page.md", "notes.md")
    around.publisher = WorkspaceActor()
    goal = read_goal("Improve this.", max_bytes=1000)
    around.performer = Performer(RunMachine("r"), goal, config, around)
    submitted = ev.RunSubmitted(
        limits=RunLimits.of(config),
        session_id="s",
        goal=ev.text_ref(goal.text),
        files=goal.files,
        workspace=str(root),
        config_hash="c",
    )
    await around.performer.submit(submitted, {submitted.goal.sha256: goal.text})
    assert (await around.ended).outcome == "succeeded"
    rejected = [e.body for e in around.history if isinstance(e.body, ev.PlanRejected)]
    codes = [problem.code for body in rejected for problem in body.problems]
    assert codes == ["acting_path", "path_blocked"]
    assert [key.call_id for _, key in around.attempts if key.call_id == "one"] == ["one"]
    assert (root / "page.md").read_text() == "mine\n"
    assert not (root / "Makefile").exists()
    assert git(root, "show", "HEAD:notes.md") == "All is well."


class _Client:
    """The workspace's client over a publisher in this process."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def unwritable(
        self, root: str, paths: Sequence[str], *, patient: bool = True
    ) -> dict[str, str]:
        assert not patient
        self.asked.append(root)
        try:
            return await WorkspaceActor().unwritable(root, paths)
        except WorkspaceError as error:
            raise CallError(
                str(error), failure_class=FailureClass.WORKSPACE_FAILED, remedy=error.remedy
            ) from error


async def test_a_goal_whose_files_cannot_be_written_is_rejected_when_it_is_submitted(
    tmp_path: Path,
) -> None:
    root = user_repository(tmp_path)
    client = _Client()
    orchestrator = object.__new__(Orchestrator)
    orchestrator._workspace = client  # type: ignore[assignment]
    orchestrator.config = scripted_config(
        tmp_path, workspace={"root": str(tmp_path / "all"), "repository": str(root)}
    )

    async def check(text: str, session: str | None = None) -> None:
        goal = read_goal(text, max_bytes=1000)
        body = ev.RunSubmitted(
            limits=RunLimits.of(orchestrator.config),
            session_id="s",
            goal=ev.text_ref(text),
            files=goal.files,
            workspace=str(root),
            config_hash="c",
        )
        await orchestrator._check_workspace(SubmitRun(text, session_id=session), body, goal)

    await check("Write `page.md` and `new.md`.")
    (root / "page.md").write_text("mine\n")
    with pytest.raises(Conflict, match=r"page\.md.*not committed") as caught:
        await check("Write `page.md` and `new.md`.")
    assert caught.value.field == "goal"
    await check("Write `new.md`.")
    (root / ".git/MERGE_HEAD").write_text(git(root, "rev-parse", "HEAD") + "\n")
    with pytest.raises(Conflict, match="a merge is in progress"):
        await check("Write `new.md`.")
    with pytest.raises(Conflict, match="a merge is in progress"):
        await check("Say hello.")

    orchestrator.config = scripted_config(tmp_path)
    before = len(client.asked)
    await check("Write `new.md`.")  # a new session's own workspace is made later
    assert len(client.asked) == before
    with pytest.raises(Conflict, match="a merge is in progress"):
        await check("Write `new.md`.", session="s")
