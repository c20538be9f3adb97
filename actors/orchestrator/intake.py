"""Taking a goal in: idempotency, the session it belongs to, and the first event of its run.

A new session gets a workspace of its own below `workspace.root` (or the repository that the user
named). A run in a session goes on where the last one ended: same workspace, its files, its message
stack. A session has one open run at a time, because two could write the same files.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from actors.store.queries import Reader
from actors.store.store import Store
from familiar.config.schema import Config
from familiar.context.message import StackMessage
from familiar.context.stack import read_stack
from familiar.errors import Conflict, InputError
from familiar.event import Draft, InheritedFile, RunSubmitted, TextRef, text_ref
from familiar.goal import Goal
from familiar.limits import RunLimits
from familiar.prompts.planning import no_answer_message, synthesis_message
from familiar.service import RunReceipt, SubmitRun

_KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")


@dataclass(frozen=True, slots=True)
class Accepted:
    """`draft` is None when the request only repeated an earlier one."""

    receipt: RunReceipt
    draft: Draft | None


class Intake:
    """Accepts goals. It reads the store in threads and writes nothing itself."""

    def __init__(self, config: Config, config_hash: str, store: Store) -> None:
        self._config = config
        self._config_hash = config_hash
        self._store = store
        self._limits = RunLimits.of(config)
        self._reader: Reader | None = None

    async def accept(self, request: SubmitRun, goal: Goal) -> Accepted:
        """Raises `InputError`, `NotFound`, `Conflict`, and `StoreReplaced` when the run of a key
        would be given out of a database that is not ours any more."""
        key = request.idempotency_key
        if key is not None:
            if not _KEY.match(key):
                raise InputError(
                    "The idempotency key must have 1 to 200 visible ASCII characters.",
                    field="Idempotency-Key",
                )
        elif request.session_id is None:
            # Nothing has to be read.
            return self._new(request, goal)
        return await asyncio.to_thread(self._read_and_accept, request, goal)

    def _read_and_accept(self, request: SubmitRun, goal: Goal) -> Accepted:
        key = request.idempotency_key
        known = None if key is None else self._repeated(key, goal)
        return known or self._new(request, goal)

    async def status(self, run_id: str) -> str:
        """A run's status by the database. Raises `NotFound`."""
        return (await asyncio.to_thread(self._read().head, run_id)).status

    def _read(self) -> Reader:
        if self._reader is None:
            self._reader = Reader.open(self._config.store.url)
        return self._reader

    def _repeated(self, key: str, goal: Goal) -> Accepted | None:
        run_id = self._store.find_idempotent(key)
        if run_id is None:
            return None
        # Nothing will be written, so nothing else would notice another database.
        self._store.check()
        row = self._read().run(run_id)
        if row.goal_sha256 != text_ref(goal.text).sha256:
            raise Conflict(
                f"The idempotency key {key} belongs to run {run_id}, which has another goal.",
                field="Idempotency-Key",
                remedy="Use a new key for a new goal.",
            )
        return Accepted(RunReceipt(run_id, row.session_id, created=False), None)

    def _new(self, request: SubmitRun, goal: Goal) -> Accepted:
        run_id = _name("r")
        texts = {(ref := text_ref(goal.text)).sha256: goal.text}
        stack: TextRef | None = None
        inherited: tuple[InheritedFile, ...] = ()
        if request.session_id is None:
            session_id = _name("s")
            workspace = self._workspace(session_id)
        else:
            session_id = request.session_id
            runs = self._read().session_runs(session_id)
            if open_runs := [run.run_id for run in runs if run.ended_at is None]:
                raise Conflict(
                    f"Session {session_id} is still working on run {open_runs[0]}.",
                    field="session_id",
                    remedy="Wait until it has ended, cancel it, or begin a new session.",
                )
            workspace = runs[-1].workspace
            inherited = self._files([run.run_id for run in runs])
            stack = self._stack(runs[-1].run_id, texts)
        body = RunSubmitted(
            session_id=session_id,
            goal=ref,
            files=goal.files,
            workspace=workspace,
            config_hash=self._config_hash,
            idempotency_key=request.idempotency_key,
            stack=stack,
            inherited=inherited,
            limits=self._limits,
        )
        receipt = RunReceipt(run_id, session_id, created=True)
        return Accepted(receipt, Draft(run_id, body, time.time(), texts))

    def _workspace(self, session_id: str) -> str:
        settings = self._config.workspace
        if settings.repository is not None:
            return str(Path(settings.repository).expanduser())
        return str(Path(settings.root).expanduser() / session_id)

    def _files(self, run_ids: list[str]) -> tuple[InheritedFile, ...]:
        newest = {
            file.path: InheritedFile(
                path=file.path, text=TextRef(sha256=file.sha256, size=file.size)
            )
            for run_id in run_ids
            for file in self._read().files(run_id)
        }
        return tuple(newest.values())

    def _stack(self, run_id: str, texts: dict[str, str]) -> TextRef | None:
        """The stack at which the last run of the session stood: its last plan prompt, the model's
        answer to it, and the answer that the run ended with."""
        reader = self._read()
        calls = [call for call in reader.calls(run_id) if call.kind == "plan"]
        plans = [row for call in calls for row in call.attempts]
        asked = [row for row in plans if row.prompt_sha256 is not None]
        if not asked:
            return None
        last = asked[-1]
        stack = read_stack(reader.text(last.prompt_sha256 or "")).without_draft()
        said = no_answer_message()
        if last.raw_sha256 is not None and last.failure_class is None:
            said = StackMessage("plan", reader.text(last.raw_sha256))
        stack = stack.push(said)
        for synthesis in reader.syntheses(run_id):
            if synthesis.adopted and synthesis.kind == "final":
                answer = reader.text(synthesis.text_sha256)
                stack = stack.push(synthesis_message(answer))
        text = stack.to_json()
        ref = text_ref(text)
        texts[ref.sha256] = text
        return ref


def _name(kind: str) -> str:
    """An id that is free of look-alikes and short enough to type: 50 random bits."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return f"{kind}-" + "".join(secrets.choice(alphabet) for _ in range(10))
