"""The tools that were offered with the prompt, by name, from any of the usual shapes.

Taken are `{"name", "parameters"}` and `{"type": "function", "function": {…}}`. `None` means that
the caller does not know which tools there are, so nothing is checked against them; an empty list
means that none was offered, so no call is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from familiar.wire.schema import Schema, properties_of, resolve

Tools = Sequence[Mapping[str, object]]


class OfferedTools:
    def __init__(self, tools: Tools | None) -> None:
        self.known = tools is not None
        self._parameters: dict[str, Schema] = {}
        for tool in tools or ():
            inner = tool.get("function", tool)
            if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
                continue
            parameters = inner.get("parameters", inner.get("input_schema"))
            self._parameters[str(inner["name"])] = (
                parameters if isinstance(parameters, Mapping) else {}
            )

    @cached_property
    def names(self) -> frozenset[str] | None:
        """Offered names, or none where the offer is not known."""
        return frozenset(self._parameters) if self.known else None

    @cached_property
    def properties(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(properties_of(p, p)) for name, p in self._parameters.items()}

    def offers(self, name: str) -> bool:
        """Whether `name` may be called: offered itself, or inside an offered namespace.

        A namespace is a tool without parameters of its own whose members are `NAMESPACE__MEMBER`.
        """
        if name in self._parameters:
            return True
        prefix = name.rpartition("__")[0]
        while prefix:
            if prefix in self._parameters and not self._parameters[prefix]:
                return True
            prefix = prefix.rpartition("__")[0]
        return False

    def parameters(self, name: str) -> Schema:
        return self._parameters.get(name, {})

    def accepting(self, keys: frozenset[str]) -> list[str]:
        """Tools that declare all of `keys` and require none beside them."""
        fitting = []
        for name, parameters in self._parameters.items():
            required = resolve(parameters, parameters).get("required")
            needed = frozenset(required) if isinstance(required, Sequence) else frozenset()
            if keys and keys <= self.properties[name] and needed <= keys:
                fitting.append(name)
        return fitting
