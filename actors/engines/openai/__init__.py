"""The engine at a URL: any server that speaks the OpenAI chat completions API."""

from actors.engines.openai.engine import OpenAIEngine

__all__ = ["OpenAIEngine"]
