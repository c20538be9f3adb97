"""The embedded weights are prepared once, by one preparer, and appear whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from actors.engines.weights import COMMAND, FOLDER, prepare, resolve_model, weights_root
from familiar.errors import EngineError


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    for name in ("org/model", "/models/llama", "smollm2"):
        assert resolve_model(name, root=tmp_path) == name


def test_what_is_missing_is_told_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=COMMAND.replace(".", r"\.")):
        resolve_model("embedded:smollm2", root=tmp_path)
    with pytest.raises(EngineError, match="embedded:smollm2"):
        resolve_model("embedded:gpt9", root=tmp_path)


def test_the_cache_follows_the_xdg_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_root() == tmp_path / "familiar" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert weights_root() == Path.home() / ".cache" / "familiar" / "weights"


def test_many_at_once_prepare_one_time(tmp_path: Path) -> None:
    made: list[Path] = []
    together = threading.Barrier(4)

    def convert(folder: Path) -> None:
        made.append(folder)
        (folder / "config.json").write_text("{}")

    def run() -> None:
        together.wait()
        prepare(tmp_path, convert)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert resolve_model("embedded:smollm2", root=tmp_path) == str(tmp_path / FOLDER)


def test_a_failed_or_killed_preparation_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "model.safetensors").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        prepare(tmp_path, broken)
    killed = tmp_path / f".{FOLDER}.abc"
    killed.mkdir()
    with pytest.raises(EngineError):
        resolve_model("embedded:smollm2", root=tmp_path)
    prepare(tmp_path, lambda folder: (folder / "config.json").write_text("{}") and None)
    assert not killed.exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [FOLDER]
