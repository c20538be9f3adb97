"""The application is built from arguments that are checked where they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from familiar.errors import ConfigError
from serve_app.app import MAX_ONGOING_REQUESTS, BuildArgs, build
from tests.serve_app.api.conftest import YAML


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "familiar.yaml").write_text(YAML)
    return str(tmp_path / "familiar.yaml")


def test_one_ingress_that_takes_many_requests_and_no_cpu(path: str) -> None:
    for args in ({"config": path}, BuildArgs(config=path)):
        deployment = build(args)._bound_deployment
        assert deployment.name == "api"
        assert deployment.num_replicas == 1
        assert deployment.max_ongoing_requests == MAX_ONGOING_REQUESTS
        assert deployment.ray_actor_options["num_cpus"] == 0


def test_it_stands_on_the_orchestrators_node(path: str) -> None:
    built = build({"config": path, "cluster.orchestrator_node.labels": "{disk: a}"})
    assert built._bound_deployment.ray_actor_options["label_selector"] == {"disk": "a"}


def test_overrides_are_yaml_values_held_to_the_schema(path: str) -> None:
    config, digests, shared = build(
        {"config": path, "api.port": "8400"}
    )._bound_deployment.init_args
    assert config.api.port == 8400
    assert (digests, shared) == (None, True)


def test_keys_are_read_where_it_is_built_and_only_their_digests_travel(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAMILIAR_TEST_KEY", "open sesame and more")
    args = {"config": path, "api.auth": "bearer", "api.keys": "[env:FAMILIAR_TEST_KEY]"}
    config, digests, _ = build(args)._bound_deployment.init_args
    assert len(digests) == 1
    assert "sesame" not in repr((config, digests))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "need `config`"),
        ({"config": ""}, "need `config`"),
        ({"config": 7}, "need `config`"),
        ({"config": "/nowhere.yaml"}, "no configuration file"),
        ({"api.prt": "1"}, "did you mean port"),
        ({"api.port": "0"}, "api.port"),
        ({"api.port": "{"}, "not valid YAML"),
        ({"api.host": "0.0.0.0"}, "loopback"),
        ({"api.auth": "bearer", "api.keys": "[env:NOBODY_SET_THIS]"}, "NOBODY_SET_THIS"),
    ],
)
def test_a_mistake_is_named(path: str, args: dict[str, object], says: str) -> None:
    given = args if "config" in args or not args else {"config": path, **args}
    with pytest.raises(ConfigError, match=says):
        build(given)
