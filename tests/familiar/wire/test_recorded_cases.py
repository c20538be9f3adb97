"""The recorded cases of peers' suites and the real failures, where that material is at hand."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    """`bench/wire.py`, whose scoring is the one that is reported."""
    spec = importlib.util.spec_from_file_location("bench_wire", repository / "bench" / "wire.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recorded_cases_are_exact(bench: ModuleType, shared_dir: Path) -> None:
    lines = (shared_dir / "wire" / "cases_dev.jsonl").read_text(encoding="utf-8").splitlines()
    scores = bench.score_recorded([json.loads(line) for line in lines])
    counted = {name: score for name, score in scores.items() if name not in bench.NOT_COUNTED}
    exact = sum(score[0] for score in counted.values())
    total = sum(score[2] for score in counted.values())
    assert total >= 400
    assert exact / total >= bench.GOAL
    behind = {name for name, (right, _) in bench.VLLM.items() if scores[name][1] < right}
    assert behind == set()


def test_every_miss_is_a_stated_decision(
    bench: ModuleType, shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (shared_dir / "wire" / "cases_dev.jsonl").read_text(encoding="utf-8").splitlines()
    bench.score_recorded([json.loads(line) for line in lines])
    missed = Counter(line.split()[2] for line in capsys.readouterr().out.splitlines())
    assert set(missed) == set(bench.NOT_FOLLOWED)


def test_real_failures_are_handled_as_a_careful_person_would(
    bench: ModuleType, shared_dir: Path
) -> None:
    lines = (shared_dir / "wire" / "malformed.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    assert len(cases) == 33
    assert bench.score_malformed(cases) == len(cases)
