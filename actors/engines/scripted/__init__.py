"""The engine that follows a script, for tests, demos and rehearsals."""

from actors.engines.scripted.engine import ScriptedEngine

__all__ = ["ScriptedEngine"]
