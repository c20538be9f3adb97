"""A script that is wrong is rejected with the place."""

from __future__ import annotations

import pytest

from actors.engines.scripted import ScriptedEngine
from familiar.engine import GenerateRequest, Message
from familiar.errors import ConfigError


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"rulez": []}, "rulez"),
        ({"rules": [{"faults": [{"kind": "explode"}]}]}, "kind"),
        ({"answer": {"text": "a", "tokens": 3}}, "one of"),
        ([1, 2], "mapping"),
        ("/nowhere/script.yaml", "cannot be read"),
    ],
)
def test_a_wrong_script_is_rejected_with_the_place(script: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ScriptedEngine(script)


async def test_a_template_with_an_unknown_field_is_rejected() -> None:
    engine = ScriptedEngine({"answer": {"template": "$nobody"}})
    await engine.start()
    request = GenerateRequest("run/call/1", (Message("user", "Go."),))
    with pytest.raises(ConfigError, match="nobody"):
        await anext(aiter(engine.generate(request)))
