"""Prompts are strict files; a plan's prompts grow by appending."""

from __future__ import annotations

import pytest

from familiar.errors import ConfigError
from familiar.event import Problem
from familiar.prompts import planning
from familiar.prompts.prompt import load_prompt
from tests.familiar.plan.views import view


def test_a_prompt_renders_only_with_exactly_its_placeholders() -> None:
    prompt = load_prompt("worker/file")
    assert "index.html" in prompt.render(file="index.html")
    with pytest.raises(ConfigError, match="no value"):
        prompt.render()
    with pytest.raises(ConfigError, match="no placeholder"):
        prompt.render(file="a", other="b")


@pytest.mark.parametrize("name", ["no/such", "../errors", "orchestrator/V2", ""])
def test_an_unknown_or_escaping_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        load_prompt(name)


def test_values_are_not_rendered_again() -> None:
    assert load_prompt("worker/file").render(file="{file}").count("{file}") == 1


def test_the_system_prompt_names_every_role_with_its_limits() -> None:
    text = planning.build_orchestrator_system_prompt(view())
    assert "naughty: the naughty" in text
    assert "2 at once" in text
    assert "300 s a call" in text
    assert "contract.html" in text


def test_the_contract_rule_stands_only_where_pages_share_parts() -> None:
    assert "contract.html" not in planning.build_orchestrator_system_prompt(
        view(shares_parts=False)
    )


def test_a_refusal_says_every_problem() -> None:
    problems = [Problem(code="a", message="First."), Problem(code="b", message="Second.")]
    text = planning.rejected_message(view(), problems).content
    assert "- First." in text
    assert "- Second." in text


def test_a_stack_that_outgrows_its_window_is_begun_anew_with_the_goal() -> None:
    messages = planning.first_messages(view())
    assert planning.fits(messages, window_tokens=4_000)
    assert not planning.fits(messages * 50, window_tokens=4_000)
    anew = planning.anew(view(turn=2), "orchestrator/v2")
    assert "Make a site." in anew[-1].content
