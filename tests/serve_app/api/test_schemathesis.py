"""The API against its own description: requests that schemathesis draws, with a key.

No answer is a 5xx, has a status that is not described, or breaks its schema. schemathesis is
installed into an environment of its own, because its dependencies are not ours; `FAMILIAR_FUZZ_S`
sets the seconds. It was chosen over Dredd and RESTler because it reads OpenAPI 3.1 and also sends
requests that break the description.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from familiar.config.schema import Config
from tests.serve_app.scripted import program, write_config
from tests.serve_app.served import served

VERSION = "4.32.5"
KEY = "0123456789abcdef0123456789abcdef"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
    "missing_required_header,unsupported_method,ignored_auth"
)


@pytest.fixture(scope="module")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of the program: `FAMILIAR_SCHEMATHESIS`, else one that is installed here."""
    if known := os.environ.get("FAMILIAR_SCHEMATHESIS"):
        return known
    folder = tmp_path_factory.mktemp("schemathesis")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"schemathesis=={VERSION}"], check=True)
    return str(folder / "bin" / "st")


def draw(tool: str, url: str, folder: Path, *more: str) -> None:
    """Send requests for `FAMILIAR_FUZZ_S` seconds."""
    headers = {"Authorization": f"Bearer {KEY}"}
    described = folder / "openapi.json"
    # schemathesis itself waits ten seconds for it at the most.
    described.write_text(httpx.get(f"{url}/openapi.json", headers=headers, timeout=120).text)
    ended = subprocess.run(
        [
            *(tool, "run", str(described), "--url", url, "-H", f"Authorization: Bearer {KEY}"),
            *("--checks", CHECKS, "--max-time", os.environ.get("FAMILIAR_FUZZ_S", "600")),
            *("--continue-on-failure", "--no-color", "--generation-database", "none", *more),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    print(ended.stdout[-2000:])
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_answer_of_the_api_alone_is_as_it_is_described(
    schemathesis: str, config: Config, tmp_path: Path
) -> None:
    """Without an orchestrator: runs stay open, so their streams do not end and are left out."""
    with served(config, (hashlib.sha256(KEY.encode()).hexdigest(),)) as service:
        service.bake()
        draw(schemathesis, service.url, tmp_path, "--exclude-path-regex", "events$")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_answer_of_a_service_is_as_it_is_described(schemathesis: str, tmp_path: Path) -> None:
    path = write_config(tmp_path)
    settings = yaml.safe_load(path.read_text())
    settings["api"] |= {"auth": "bearer", "keys": ["env:FUZZ_KEY"]}
    path.write_text(yaml.safe_dump(settings))
    words = ("-m", "serve_app.cli", "serve", "--config", str(path))
    with program(*words, env={"FUZZ_KEY": KEY}) as service:
        service.wait_for("familiar serves at")
        draw(schemathesis, f"http://127.0.0.1:{settings['api']['port']}", tmp_path)
        service.end(signal.SIGINT)
