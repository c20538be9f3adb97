"""An engine that follows a script: deterministic text, honest timing, every fault of a real one.

It stands in for a pool in tests, demos, fault injection and simulation, so it behaves like an
engine where others can look: a bounded number of requests run at once and the rest wait, prompts
are counted and hit a simulated prefix cache, a prompt that does not fit is rejected, `max_tokens`
cuts, a stream that is closed frees its slot, and a dead engine fails everything that it holds.

Tokens are due at absolute times (the k-th `k / tokens_per_s` after the first), so late wake-ups are
caught up and never add up: 64 streams of 100 tokens/s keep their rate in one event loop. The errors
it raises are the ones that a real engine raises; it knows nothing of the classes that a deadline
gives. Each call of `generate` appends one JSON line to the script's `invocations` file: the ground
truth for "this was not run twice".
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from actors.engines.rate import TokenRate
from actors.engines.scripted.pace import Pace
from actors.engines.scripted.script import Answer, Fault, RequestParts, Rule, Script, load_script
from actors.engines.scripted.tokens import (
    SimulatedPrefixCache,
    fewest_tokens,
    rest_of_filler,
    tokenize,
)
from familiar.engine import Delta, EngineHealth, EngineStats, FinishReason, GenerateRequest
from familiar.errors import ConfigError, EngineError, FailureClass
from familiar.failure import class_of_status

_BREATH = 16  # deltas without a wait after which other coroutines get their turn


@dataclass(slots=True)
class _Running:
    """One request in the engine. `visit` counts the matches of its rule, `wake` is its wait of now,
    `granted` whether it has a slot."""

    request: GenerateRequest
    parts: RequestParts
    rule: Rule
    visit: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    wake: asyncio.Future[None] | None = None
    granted: bool = False

    def rouse(self) -> None:
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)


class ScriptedEngine:
    owned = True

    def __init__(
        self,
        script: object,
        *,
        context_length: int = 4096,
        replica_id: str = "scripted",
    ) -> None:
        if isinstance(script, Script):
            self._script, self._base = script, Path.cwd()
        else:
            self._script, self._base = load_script(script)
        self._context_length = context_length
        self._replica_id = replica_id
        self._cache = SimulatedPrefixCache(
            self._script.prefix_cache.block_tokens, self._script.prefix_cache.blocks
        )
        self._requests: dict[str, _Running] = {}
        self._queue: deque[_Running] = deque()
        self._free = self._script.slots
        self._visits: Counter[int] = Counter()
        self._starts = 0
        self._invocations: int | None = None
        self._ready = False
        self._dead = ""
        self._rate = TokenRate()
        self._prompt_tokens = self._output_tokens = self._cached_tokens = 0

    # -- the engine protocol ---------------------------------------------------------------------

    async def start(self) -> None:
        if self._ready:
            return
        start = self._script.start
        self._starts += 1
        nth = count_start(start.starts, self._replica_id) if start.starts else self._starts
        if start.seconds:
            await asyncio.sleep(start.seconds)
        if start.never or nth <= start.fails:
            if start.hangs:
                await asyncio.Event().wait()
            raise EngineError(
                f"The scripted engine of {self._replica_id} did not start: {start.message}.",
                evidence={"replica": self._replica_id, "start": nth},
            )
        self._ready, self._dead = True, ""

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Delta]:
        self._record(request.request_id)
        self._check_alive()
        if request.request_id in self._requests:
            raise EngineError(
                f"Request {request.request_id} is already running on {self._replica_id}.",
                failure_class=FailureClass.BACKEND_REFUSED,
            )
        running = self._match(request)
        self._requests[request.request_id] = running
        try:
            faults = [f for f in running.rule.faults if f.times is None or running.visit <= f.times]
            await self._before(running, faults)
            self._prefill(running)
            await self._take_slot(running)
            pieces, finish = self._answer(running)
            pace = self._pace(running, faults, len(pieces))
            sent = unbroken = 0
            while True:
                while pace.stop <= sent and pace.faults:
                    await self._strike(running, pace)
                upto = pace.next(sent)
                unbroken += 1
                if pace.due > time.monotonic():
                    await self._wait(running, pace.due)
                    unbroken = 0
                elif unbroken >= _BREATH:
                    await asyncio.sleep(0)
                    unbroken = 0
                if self._dead or not self._ready:
                    self._check_alive()
                count = upto - sent
                self._output_tokens += count
                self._rate.add(count, time.monotonic())
                text = pieces[sent] if count == 1 else "".join(pieces[sent:upto])
                first, sent = sent == 0, upto
                last = sent == pace.total and not pace.faults
                if first or last:
                    end = finish if last else None
                    yield Delta(text, count, end, running.prompt_tokens, running.cached_tokens)
                    if last:
                        return
                else:
                    yield Delta(text, count)
        finally:
            self._requests.pop(request.request_id, None)
            self._give_slot(running)

    async def health(self) -> EngineHealth:
        if self._dead:
            return EngineHealth(ok=False, reason=self._dead)
        if not self._ready:
            return EngineHealth(ok=False, reason="not started")
        return EngineHealth(ok=True)

    def stats(self) -> EngineStats:
        running = sum(r.granted for r in self._requests.values())
        return EngineStats(
            running=running,
            waiting=len(self._requests) - running,
            tokens_per_s=self._rate.per_second(time.monotonic()),
            prompt_tokens=self._prompt_tokens,
            output_tokens=self._output_tokens,
            cached_tokens=self._cached_tokens,
        )

    async def stop(self) -> None:
        self._ready = False
        self._die("stopped")
        if self._invocations is not None:
            os.close(self._invocations)
            self._invocations = None

    # -- one request -----------------------------------------------------------------------------

    async def _before(self, running: _Running, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.kind == "delay":
                await self._wait(running, time.monotonic() + (fault.seconds or 0.0))
            elif fault.kind == "refuse":
                raise EngineError(
                    f"{self._replica_id}: connection refused.",
                    evidence={"replica": self._replica_id, "errno": 111},
                )
            elif fault.kind == "status":
                raise EngineError(
                    f"{self._replica_id} answered {fault.status}: {fault.message}.",
                    failure_class=class_of_status(fault.status),
                    evidence={"replica": self._replica_id, "status": fault.status},
                )

    def _prefill(self, running: _Running) -> None:
        """Count the prompt and what of it is cached."""
        request = running.request
        text = "".join(f"<|{m.role}|>\n{m.content}\n" for m in request.messages)
        tokens: list[str] = []
        count = fewest_tokens(text)
        if count < self._context_length:
            tokens = tokenize(text)
            count = len(tokens)
        if count >= self._context_length:
            raise EngineError(
                f"The prompt of {request.request_id} has at least {count} tokens and the context "
                f"length of {self._replica_id} is {self._context_length}.",
                failure_class=FailureClass.CONTEXT_OVERFLOW,
                evidence={"prompt_tokens": count, "context_length": self._context_length},
            )
        running.prompt_tokens = count
        running.cached_tokens = self._cache.admit(tokens)
        self._prompt_tokens += count
        self._cached_tokens += running.cached_tokens

    def _pace(self, running: _Running, faults: list[Fault], total: int) -> Pace:
        rates = running.rule.rates or self._script.rates
        seed = f"{self._script.seed}/{running.request.request_id}"
        return Pace(rates, faults, total=total, seed=seed)

    async def _strike(self, running: _Running, pace: Pace) -> None:
        fault = pace.faults.popleft()
        pace.stop = pace.stops()
        if fault.kind == "slow":
            pace.interval = 1.0 / fault.tokens_per_s
        elif fault.kind == "stall":
            if fault.seconds is not None:
                pace.due = max(pace.due, time.monotonic()) + fault.seconds
            else:
                await self._wait(running, None)  # until the engine dies
        elif fault.kind == "cut":
            raise EngineError(
                f"{self._replica_id}: the stream broke after {fault.after_tokens} tokens.",
                evidence={"replica": self._replica_id, "tokens": fault.after_tokens},
            )
        elif fault.kind == "die":
            if fault.exit:
                os.kill(os.getpid(), signal.SIGKILL)
            self._die("the engine core died")
            self._check_alive()

    def _answer(self, running: _Running) -> tuple[list[str], FinishReason]:
        request = running.request
        chosen = running.rule.choose(running.parts.attempt, running.visit)
        answer = chosen or self._script.answer
        written = request.messages[-1].content if request.continue_final else ""
        if answer.tokens is not None:
            stem, current = request.request_id.rpartition("/")[0], running.parts.attempt
            earlier = [f"{self._script.seed}/{stem}/{attempt}" for attempt in range(1, current)]
            own = f"{self._script.seed}/{request.request_id}"
            pieces = rest_of_filler(answer.tokens, (*earlier, own), written)
        else:
            text = self._text(answer, running).removeprefix(written)
            cuts = [at for stop in request.sampling.stop if stop and (at := text.find(stop)) >= 0]
            pieces = tokenize(text[: min(cuts)] if cuts else text)
        limit = min(request.sampling.max_tokens, self._context_length - running.prompt_tokens)
        return (pieces[:limit], "length") if len(pieces) > limit else (pieces, "stop")

    def _text(self, answer: Answer, running: _Running) -> str:
        if answer.text is not None:
            return answer.text
        if answer.file is not None:
            return (self._base / answer.file).read_text(encoding="utf-8")
        asked = [m.content for m in running.request.messages if m.role == "user"]
        fields = {
            "run": running.parts.run,
            "call": running.parts.call,
            "attempt": running.parts.attempt,
            "visit": running.visit,
            "prompt": asked[-1] if asked else "",
        }
        try:
            return Template(answer.template or "").substitute(fields)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"A template of the script cannot be filled: {error}; it may name "
                f"{', '.join(fields)}.",
                where="script.rules",
            ) from error

    # -- slots, waiting, death -------------------------------------------------------------------

    async def _take_slot(self, running: _Running) -> None:
        if self._free:
            self._free -= 1
            running.granted = True
            return
        self._queue.append(running)
        try:
            await self._wait(running, None)
        finally:
            if not running.granted and running in self._queue:
                self._queue.remove(running)
        self._check_alive()

    def _give_slot(self, running: _Running) -> None:
        if not running.granted:
            return
        running.granted = False
        while self._queue:
            first = self._queue.popleft()
            if first.wake is not None and not first.wake.done():
                first.granted = True
                first.rouse()
                return
        self._free += 1

    async def _wait(self, running: _Running, until: float | None) -> None:
        """Sleep to an absolute time (None: for ever). The engine's death ends it."""
        loop = asyncio.get_running_loop()
        running.wake = loop.create_future()
        timer = None
        if until is not None:
            # loop.time() is time.monotonic() on every platform that familiar runs on.
            timer = loop.call_at(until, running.rouse)
        try:
            await running.wake
        finally:
            running.wake = None
            if timer is not None:
                timer.cancel()

    def _die(self, reason: str) -> None:
        self._dead = reason
        for running in list(self._requests.values()):
            running.rouse()

    def _check_alive(self) -> None:
        if self._dead or not self._ready:
            reason = self._dead or "not started"
            raise EngineError(
                f"The scripted engine of {self._replica_id} cannot serve: {reason}.",
                evidence={"replica": self._replica_id, "reason": reason},
            )

    # -- book-keeping ----------------------------------------------------------------------------

    def _match(self, request: GenerateRequest) -> _Running:
        parts = RequestParts.of(request.request_id)
        found, rule = -1, _NO_RULE
        for index, candidate in enumerate(self._script.rules):
            if candidate.when.matches(request, parts, self._replica_id):
                found, rule = index, candidate
                break
        self._visits[found] += 1
        return _Running(request, parts, rule, self._visits[found])

    def _record(self, request_id: str) -> None:
        if self._script.invocations is None:
            return
        if self._invocations is None:
            self._invocations = append_to(self._script.invocations)
        line = {"request_id": request_id, "replica": self._replica_id, "at": time.time()}
        os.write(self._invocations, json.dumps(line).encode() + b"\n")


_NO_RULE = Rule()


def append_to(path: str) -> int:
    """A descriptor whose writes are whole lines also beside other processes."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def count_start(path: str, replica_id: str) -> int:
    """Note one more start of the replica; how many there have been, this one included."""
    fd = append_to(path)
    os.write(fd, f"{replica_id} {os.getpid()}\n".encode())
    os.close(fd)
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return sum(line.split(" ")[0] == replica_id for line in lines)
