"""vLLM in the replica's own process."""

from actors.engines.vllm.engine import VllmEngine

__all__ = ["VllmEngine"]
