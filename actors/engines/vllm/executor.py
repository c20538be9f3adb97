"""The executor that runs inside vLLM's engine-core process, bound to what its replica owns.

vLLM starts its engine core in a process of its own, and on CPU hosts a worker in a third one. Each
imports torch and vLLM anew, which is most of the start-up time there. This executor runs the worker
in the engine-core process (as vLLM does on one GPU), after binding that process to the replica's
cores, and it ends the process when the replica's process is gone: vLLM's engine core would go on
without it and hold its memory.

It is imported by name, in the engine-core process and by the engine that starts it, because it can
only be defined where vLLM is installed.
"""

from __future__ import annotations

import os

from vllm.platforms import current_platform
from vllm.v1.executor.uniproc_executor import UniProcExecutor

from actors.engines.vllm.parent import end_with

CORES_VARIABLE = "FAMILIAR_ENGINE_CORES"


class BoundExecutor(UniProcExecutor):
    """One worker, in the engine-core process, on the cores that the replica was given."""

    def _init_executor(self) -> None:
        end_with(os.getppid())
        cores = os.environ.get(CORES_VARIABLE, "")
        if cores:
            import torch

            chosen = {int(core) for core in cores.split(",")}
            os.sched_setaffinity(0, chosen)
            torch.set_num_threads(len(chosen))
        if current_platform.is_cpu():
            from actors.engines.vllm.norm import register_norms

            register_norms()
        super()._init_executor()
