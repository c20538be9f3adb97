"""The message stack of an orchestrator, and how artifacts are handed on (see README.md)."""
