"""Prompts are strict files, and their versions cover all that they are made of."""

from __future__ import annotations

import pytest

from familiar.errors import ConfigError
from familiar.prompts.prompt import Prompt, composed_version, load_prompt


def test_a_prompt_renders_only_with_exactly_its_placeholders() -> None:
    prompt = load_prompt("worker/file")
    assert "index.html" in prompt.render(file="index.html")
    with pytest.raises(ConfigError, match="no value"):
        prompt.render()
    with pytest.raises(ConfigError, match="no placeholder"):
        prompt.render(file="a", other="b")


@pytest.mark.parametrize("name", ["no/such", "../errors", "orchestrator/V2", ""])
def test_an_unknown_or_escaping_name_is_rejected(name: str) -> None:
    with pytest.raises(ConfigError):
        load_prompt(name)


def test_values_are_not_rendered_again() -> None:
    assert load_prompt("worker/file").render(file="{file}").count("{file}") == 1


def test_the_version_of_a_composition_changes_with_any_part() -> None:
    parts = [Prompt("a", "1" * 12, ""), Prompt("b", "2" * 12, "")]
    version = composed_version(parts)
    assert len(version) == 12
    assert composed_version(reversed(parts)) == version
    assert composed_version([parts[0], Prompt("b", "3" * 12, "")]) != version
    assert composed_version(parts[:1]) != version
