"""The models that a server lists, and whether a configured name is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actors.engines.openai.answer import count
from actors.engines.openai.sse import read_object

_LENGTHS = ("max_model_len", "context_length", "context_window", "max_context_length",
            "loaded_context_length", "n_ctx", "max_input_tokens")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`context_length` is 0 where the server does not say it. `any_name`: the server answers with
    this model whatever name it is asked for (llama.cpp)."""

    name: str
    context_length: int = 0
    any_name: bool = False

    def is_called(self, name: str) -> bool:
        """`:latest`, owners, folders and `.gguf` do not count where one side lacks them."""
        mine, wanted = self.name.lower(), name.lower()
        if mine == wanted or mine.removesuffix(":latest") == wanted.removesuffix(":latest"):
            return True
        short, asked = _short(mine), _short(wanted)
        return (short == asked and ("/" in mine) != ("/" in wanted)) or mine == f"{asked}.gguf"


def served_models(body: bytes) -> list[ServedModel]:
    """The list of `/v1/models`, in the forms that there are; [] for anything else."""
    data = read_object(body)
    if data is None:
        return []
    listed = data.get("data") or data.get("models")
    entries = listed[:2000] if isinstance(listed, list) else []
    found: list[ServedModel] = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(ServedModel(entry))
        elif isinstance(entry, dict):
            name = entry.get("id") or entry.get("name") or entry.get("model")
            if isinstance(name, str) and name:
                any_name = entry.get("owned_by") == "llamacpp" and len(entries) == 1
                found.append(ServedModel(name, _context(entry), any_name))
    return found


def find_model(name: str, models: list[ServedModel]) -> ServedModel | None:
    exact = next((model for model in models if model.name == name), None)
    loose = exact or next((model for model in models if model.is_called(name)), None)
    return loose or next((model for model in models if model.any_name), None)


def _context(entry: Mapping[str, object]) -> int:
    meta = entry.get("meta")
    places = [entry, *([meta] if isinstance(meta, dict) else [])]
    return next((n for place in places for key in _LENGTHS if (n := count(place.get(key)))), 0)


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(":latest").removesuffix(".gguf")
