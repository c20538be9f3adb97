"""Requests that arrive while others are handled form the next group, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Grouped(Generic[Asked, Answer]):
    """`handle` gets up to `size` items and returns an answer or an error for each. It runs inside
    `turn`, and a group is formed only when its turn has come: those that wait for it are in it."""

    def __init__(
        self,
        handle: Callable[[list[Asked]], Awaitable[list[Answer | Exception]]],
        size: int,
        turn: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._handle = handle
        self._size = size
        self._turn = turn
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, item: Asked) -> Answer:
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await done

    async def _work(self) -> None:
        while self._waiting:
            group: list[tuple[Asked, asyncio.Future[Answer]]] = []
            try:
                async with self._turn():
                    group = self._take()
                    answers = await self._handle([item for item, _ in group])
            except BaseException as error:
                for _, done in group or self._take():
                    if not done.done():
                        done.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, done), answer in zip(group, answers, strict=True):
                if done.done():
                    continue
                if isinstance(answer, Exception):
                    done.set_exception(answer)
                else:
                    done.set_result(answer)

    def _take(self) -> list[tuple[Asked, asyncio.Future[Answer]]]:
        group = self._waiting[: self._size]
        del self._waiting[: self._size]
        return group
