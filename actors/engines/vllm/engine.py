"""vLLM in the replica's own process: AsyncLLM behind the engine protocol, on GPUs and on CPU cores.

The engine core runs in a child process; this side renders the chat template, streams deltas and
counts. Every environment variable that vLLM reads is set once, in `start`, from the constructor's
arguments, because a replica's process belongs to one engine.

On CPU hosts five choices are made unless `engine_args` says otherwise. The worker shares the
engine-core process (`executor`): one import of vLLM less, a third of the start-up. Without
bfloat16 instructions weights are float32: slower for a single stream, twice as fast for several.
Execution is eager, so that nothing is compiled at start, with compiled norms (`norm`). The KV
cache has a fixed size, 1 GiB.

The text keeps the marks of reasoning that the model wrote; they are split off where the attempt
ends, in the same way for every engine. vLLM's own reasoning parsers are not used for that: each
fits one model, and a server at a URL leaves marks in its text, too.

It never retries and never shortens a prompt: a prompt that does not fit is an error with numbers.
An answer is cut at the end of the context, with finish reason `length`.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from actors.engines.rate import TokenRate
from actors.engines.vllm.sampling import sampling_parameters, template_arguments
from actors.engines.weights import resolve_model
from familiar.config.schema import ThinkingConfig
from familiar.engine import (
    Delta,
    EngineHealth,
    EngineStats,
    FinishReason,
    GenerateRequest,
)
from familiar.errors import EngineError, FailureClass

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

EXECUTOR = "actors.engines.vllm.executor.BoundExecutor"
CORES_VARIABLE = "FAMILIAR_ENGINE_CORES"
FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "abort": "abort",
    "error": "error",
    "repetition": "stop",
}
STOP_S = 5.0
CPU_KV_CACHE_BYTES = 1 << 30
"""vLLM would take most of the host's memory, and run the model once to see how much it can."""
THINK_MARKS = ("<think>", "</think>")
CPU_BLOCK_TOKENS = 32
"""Prompts share whole blocks; vLLM's 128 on CPUs is longer than most shared beginnings."""


class VllmEngine:
    """One vLLM engine. `cores` pins it on a CPU host; on GPUs the replica's process already sees
    only its own devices. `engine_args` are fields of vLLM's `AsyncEngineArgs`, as they are."""

    owned = True

    def __init__(
        self,
        model: str,
        *,
        context_length: int,
        engine_args: Mapping[str, JsonValue],
        cores: tuple[int, ...],
        replica_id: str,
        thinking: ThinkingConfig | None = None,
    ) -> None:
        self._model = model
        self._thinking = thinking
        self._context_length = context_length
        self._engine_args = dict(engine_args)
        self._cores = cores
        self._replica_id = replica_id
        self._llm: AsyncLLM | None = None
        self._loading: asyncio.Task[AsyncLLM] | None = None
        self._stopped = False
        self._readings = _Readings()
        self._rate = TokenRate()
        self._prompt_tokens = 0
        self._output_tokens = 0
        self._cached_tokens = 0

    def __repr__(self) -> str:
        return f"VllmEngine({self._model!r}, replica_id={self._replica_id!r}, cores={self._cores})"

    async def start(self) -> None:
        """Load the model, in a thread: seconds on a GPU, about 25 s on one CPU core."""
        if self._llm is not None:
            return
        self._stopped = False
        model = resolve_model(self._model)
        os.environ.update(self._environment(model))
        self._loading = asyncio.create_task(asyncio.to_thread(self._load, model))
        try:
            llm = await asyncio.shield(self._loading)
        except asyncio.CancelledError:
            await self.stop()
            raise
        except Exception as error:
            raise EngineError(
                f"replica {self._replica_id}: vLLM did not start {self._model}: "
                f"{type(error).__name__}: {error}",
                evidence={"model": model, "engine_args": sorted(self._engine_args)},
                remedy="The replica's log has vLLM's own output; check engine_args and memory.",
            ) from error
        finally:
            self._loading = None
        if self._stopped:
            await asyncio.to_thread(_shut_down, llm)
            raise EngineError(f"replica {self._replica_id}: stopped while it was starting.")
        self._llm = llm

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        llm = self._serving()
        prompt, prompt_tokens = await self._render(llm, request)
        room = self._context_length - prompt_tokens
        if room < 1:
            raise EngineError(
                f"request {request.request_id}: the prompt has {prompt_tokens} tokens and the "
                f"context of {self._model} on replica {self._replica_id} holds "
                f"{self._context_length}, the answer included.",
                failure_class=FailureClass.CONTEXT_OVERFLOW,
                evidence={
                    "prompt_tokens": prompt_tokens,
                    "max_tokens": request.sampling.max_tokens,
                    "context_length": self._context_length,
                },
                remedy="Shorten the prompt or use a pool with a longer context.",
            )
        with self._errors(request.request_id):
            sampling = sampling_parameters(request, room, self._thinking)
            stream = llm.generate(prompt, sampling, request.request_id)
        cached = 0
        self._prompt_tokens += prompt_tokens
        try:
            with self._errors(request.request_id):
                async for output in stream:
                    answer = output.outputs[0]
                    tokens = len(answer.token_ids)
                    if output.num_cached_tokens and not cached:
                        cached = output.num_cached_tokens
                        self._cached_tokens += cached
                    self._output_tokens += tokens
                    self._rate.add(tokens, time.monotonic())
                    reason = answer.finish_reason
                    yield Delta(
                        text=answer.text,
                        tokens=tokens,
                        finish_reason=FINISH.get(reason, "error") if reason else None,
                        prompt_tokens=prompt_tokens,
                        cached_tokens=cached,
                    )
        finally:
            # Closing vLLM's generator is what aborts the request in the engine core.
            await stream.aclose()

    async def health(self) -> EngineHealth:
        llm = self._llm
        if llm is None:
            starting = self._loading is not None
            return EngineHealth(False, "the model is loading" if starting else "not started")
        if llm.errored:
            return EngineHealth(False, "the engine core has died")
        dead = [child.name for child in _cores_of(llm) if not child.is_alive()]
        if dead:
            return EngineHealth(False, f"the engine core has died ({', '.join(dead)})")
        return EngineHealth(True)

    def stats(self) -> EngineStats:
        """The engine's own last reading, never more than the open requests of this side: vLLM sends
        no reading after its last request has been aborted."""
        unfinished = self._llm.get_num_unfinished_requests() if self._llm is not None else 0
        running = min(self._readings.running, unfinished)
        return EngineStats(
            running=running,
            waiting=unfinished - running,
            tokens_per_s=self._rate.per_second(time.monotonic()),
            prompt_tokens=self._prompt_tokens,
            output_tokens=self._output_tokens,
            cached_tokens=self._cached_tokens,
        )

    async def stop(self) -> None:
        self._stopped = True
        loading = self._loading
        if loading is not None:
            # vLLM's constructor cannot be interrupted, but it ends when its child does.
            for child in multiprocessing.active_children():
                if child.name.startswith("EngineCore"):
                    child.kill()
            await asyncio.wait([loading])
            if not loading.cancelled() and loading.exception() is None:
                await asyncio.to_thread(_shut_down, loading.result())
        llm, self._llm = self._llm, None
        if llm is not None:
            await asyncio.to_thread(_shut_down, llm)

    def _serving(self) -> AsyncLLM:
        if self._llm is None:
            raise EngineError(f"replica {self._replica_id}: the engine is not running.")
        return self._llm

    def _environment(self, model: str) -> dict[str, str]:
        values = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        if "VLLM_LOGGING_LEVEL" not in os.environ:
            values["VLLM_LOGGING_LEVEL"] = "WARNING"
        if Path(model).is_dir():
            values["HF_HUB_OFFLINE"] = "1"
        if self._cores:
            listed = ",".join(map(str, self._cores))
            values["VLLM_CPU_OMP_THREADS_BIND"] = listed
            values[CORES_VARIABLE] = listed
            values["OMP_NUM_THREADS"] = str(len(self._cores))
        return values

    def _load(self, model: str) -> AsyncLLM:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments: dict[str, Any] = {
            "max_model_len": self._context_length,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            # Named, because `auto` changes the backend with the schema, and the others pad JSON.
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        }
        if self._thinking is not None and self._thinking.budget_tokens is not None:
            from vllm.config.reasoning import ReasoningConfig

            # vLLM counts reasoning between these marks; a model with others names its parser.
            if not {"reasoning_config", "reasoning_parser"} & self._engine_args.keys():
                arguments["reasoning_config"] = ReasoningConfig(
                    reasoning_start_str=THINK_MARKS[0], reasoning_end_str=THINK_MARKS[1]
                )
        if int(str(self._engine_args.get("tensor_parallel_size", 1))) == 1:
            arguments["distributed_executor_backend"] = EXECUTOR
        if current_platform.is_cpu():
            import torch

            arguments["enforce_eager"] = True
            arguments["kv_cache_memory_bytes"] = CPU_KV_CACHE_BYTES
            arguments["block_size"] = CPU_BLOCK_TOKENS
            from actors.engines.vllm.norm import PRIORITY, register_norms

            register_norms()
            arguments["ir_op_priority"] = PRIORITY
            if not torch.cpu._is_avx512_bf16_supported():
                arguments["dtype"] = "float32"
        arguments |= self._engine_args
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(model=model, **arguments), stat_loggers=[self._readings.logger()]
        )

    async def _render(self, llm: AsyncLLM, request: GenerateRequest) -> tuple[Any, int]:
        """The prompt as token ids, by the model's own chat template. vLLM's renderer does the work
        in its thread pool, so a long prompt does not hold the event loop."""
        from vllm.renderers.params import ChatParams, TokenizeParams

        messages: list[Any] = [{"role": m.role, "content": m.content} for m in request.messages]
        with self._errors(request.request_id):
            _, prompts = await llm.renderer.render_chat_async(
                [messages],
                ChatParams(
                    chat_template_kwargs={
                        **template_arguments(self._thinking),
                        "add_generation_prompt": not request.continue_final,
                        "continue_final_message": request.continue_final,
                        "tokenize": False,
                    }
                ),
                TokenizeParams(max_total_tokens=None, add_special_tokens=False),
            )
        return prompts[0], len(prompts[0]["prompt_token_ids"])

    @contextlib.contextmanager
    def _errors(self, request_id: str) -> Iterator[None]:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            yield
        except EngineDeadError as error:
            raise EngineError(
                f"request {request_id}: the engine core of replica {self._replica_id} has died.",
                evidence={"replica": self._replica_id, "model": self._model},
                remedy="The replica restarts it; its log has the cause.",
            ) from error
        except (VLLMClientError, ValueError, TypeError) as error:
            raise EngineError(
                f"request {request_id}: vLLM rejected it on replica {self._replica_id}: {error}",
                failure_class=FailureClass.BACKEND_REFUSED,
                evidence={"replica": self._replica_id, "error": type(error).__name__},
            ) from error
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"request {request_id}: vLLM failed on replica {self._replica_id}: "
                f"{type(error).__name__}: {error.__cause__ or error}",
                failure_class=FailureClass.INTERNAL,
                evidence={"replica": self._replica_id, "error": type(error).__name__},
            ) from error


class _Readings:
    """The last reading of the engine core, taken from vLLM's stream of statistics."""

    def __init__(self) -> None:
        self.running = 0

    def logger(self) -> Callable[..., Any]:
        from vllm.v1.metrics.loggers import StatLoggerBase

        readings = self

        class Reader(StatLoggerBase):
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None: ...

            def record(
                self,
                scheduler_stats: Any,
                iteration_stats: Any,
                mm_cache_stats: Any = None,
                engine_idx: int = 0,
            ) -> None:
                if scheduler_stats is not None:
                    readings.running = scheduler_stats.num_running_reqs

            def log_engine_initialized(self) -> None: ...

        return Reader


def _cores_of(llm: AsyncLLM) -> list[Any]:
    manager = llm.engine_core.resources.engine_manager
    return list(getattr(manager, "processes", ()))


def _shut_down(llm: AsyncLLM) -> None:
    """End the engine core and everything below it; `shutdown` kills what does not go by itself."""
    children = _cores_of(llm)
    llm.shutdown(timeout=STOP_S)
    for child in children:
        if child.is_alive():
            child.kill()
        child.join(STOP_S)
