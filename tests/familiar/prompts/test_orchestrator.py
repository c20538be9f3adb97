"""What an orchestrator is told once, for exactly the pools that it has."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import pytest

from familiar.plan.view import PoolState, Role
from familiar.prompts import prompt
from familiar.prompts.orchestrator import build_orchestrator_system_prompt
from familiar.wire import PLAN_WIRES

ROLES = (
    Role("naughty", "writes pages", "output_file", 2, 300.0, 144_000, 9_000),
    Role("grandpa", "reviews", "text", 1, 120.0, 32_000, 500),
)
STATE = PoolState(roles=ROLES, shares_parts=True, generator="naughty", reviewer="grandpa")


def text(state: PoolState = STATE, name: str = "orchestrator/v2") -> str:
    return build_orchestrator_system_prompt(state, name).text


def test_every_role_stands_there_with_its_limits() -> None:
    assert (
        "- naughty: writes pages (writes one file, 2 at once, 300 s a call, at most 9000 tokens, "
        "context 144000)"
    ) in text()
    assert "- grandpa: reviews (answers in text, 1 at once, 120 s a call" in text()


def test_patterns_are_those_that_the_enabled_roles_can_carry_out() -> None:
    assert "`check` (grandpa)" in text()
    assert "grandpa" not in text(replace(STATE, roles=ROLES[:1], reviewer=None))
    assert "translation" not in text()
    translator = Role("translator", "", "text", 1, 60.0, 4_096, 500)
    assert "translation" in text(replace(STATE, roles=(*ROLES, translator)))


def test_the_contract_pattern_stands_where_pages_share_parts_and_another_elsewhere() -> None:
    assert "contract.html" in text()
    alone = text(replace(STATE, shares_parts=False))
    assert "contract.html" not in alone
    assert "shared.md" in alone


@pytest.mark.parametrize("wire", PLAN_WIRES)
def test_the_form_is_that_of_the_wire_in_use(wire: str) -> None:
    shown = '"worker_calls"' in text(replace(STATE, wire=wire))
    assert shown is (wire == "json")


def test_v1_is_one_fixed_text_without_capacity() -> None:
    fixed = text(name="orchestrator/v1")
    other = replace(STATE, roles=ROLES[:1], shares_parts=False, wire="xml")
    assert text(other, "orchestrator/v1") == fixed
    assert "at once" not in fixed
    assert "300" not in fixed


def test_names_and_versions_tell_the_prompts_apart() -> None:
    first, second = (
        build_orchestrator_system_prompt(STATE, f"orchestrator/{name}") for name in ("v1", "v2")
    )
    assert (first.name, second.name) == ("orchestrator/v1", "orchestrator/v2")
    assert first.version != second.version
    for version in (first.version, second.version):
        assert len(version) == 12
        int(version, 16)


def part_names() -> list[str]:
    folder = files("familiar.prompts") / "orchestrator"
    names = [f"orchestrator/{file.name[:-3]}" for file in folder.iterdir() if file.is_file()]
    names += [f"orchestrator/pattern/{file.name[:-3]}" for file in (folder / "pattern").iterdir()]
    return [name for name in names if name != "orchestrator/v1"]


@pytest.mark.parametrize("changed", part_names())
def test_the_version_changes_when_any_file_of_the_orchestrator_does(
    changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build_orchestrator_system_prompt(STATE).version
    real = prompt.load_prompt

    def load(name: str) -> prompt.Prompt:
        found = real(name)
        return replace(found, version="0" * 12) if name == changed else found

    monkeypatch.setattr("familiar.prompts.orchestrator.load_prompt", load)
    assert build_orchestrator_system_prompt(STATE).version != before
