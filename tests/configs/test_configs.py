"""Every file of `configs/` loads as it is and keeps what its name and its comments promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from familiar.config.load import load_config
from familiar.config.schema import Config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))
OURS = ("cluster", "dwarfstar", "four-gpu")


def load(name: str) -> Config:
    return load_config(CONFIGS / f"{name}.yaml")


def devices(config: Config, pool: str) -> list[list[int | str]]:
    return [replica.gpus for replica in config.pools[pool].replicas]


def urls(config: Config, pool: str) -> list[str | None]:
    return [replica.url for replica in config.pools[pool].replicas]


def test_there_are_files_to_load() -> None:
    assert {f"{name}.yaml" for name in OURS} <= {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestEveryFile:
    def test_it_loads_as_it_is(self, file: Path) -> None:
        assert load_config(file).pools

    def test_it_begins_with_a_comment_that_says_what_it_is_for(self, file: Path) -> None:
        assert file.read_text(encoding="utf-8").startswith("# ")

    def test_every_pool_has_an_alias(self, file: Path) -> None:
        config = load_config(file)
        assert {alias.pool for alias in config.aliases.values()} == set(config.pools)

    def test_every_role_has_a_description_that_the_orchestrator_can_read(self, file: Path) -> None:
        config = load_config(file)
        for name in config.aliases.keys() - {config.orchestrator.alias}:
            assert config.aliases[name].description, name

    def test_an_answer_fits_into_its_context(self, file: Path) -> None:
        config = load_config(file)
        for name, alias in config.aliases.items():
            assert alias.sampling.max_tokens < config.pools[alias.pool].context_length, name

    def test_no_key_is_written_into_it(self, file: Path) -> None:
        for key in load_config(file).api.keys:
            assert key.startswith(("env:", "file:"))

    def test_it_also_comes_up_with_scripted_engines(self, file: Path) -> None:
        config = load_config(file, {"pools.*.engine": "scripted"})
        assert {pool.engine for pool in config.pools.values()} == {"scripted"}


@pytest.mark.parametrize("name", OURS)
def test_the_api_asks_for_a_key_that_is_not_in_the_file(name: str) -> None:
    api = load(name).api
    key = "file:/etc/familiar-api-key/key" if name == "cluster" else "env:FAMILIAR_KEY"
    assert (api.auth, api.keys) == ("bearer", [key])


class TestFourGpu:
    def test_naughty_is_two_instances_on_gpus_1_and_3(self) -> None:
        assert devices(load("four-gpu"), "naughty") == [[1], [3]]

    def test_the_orchestrator_is_one_node_per_gpu_on_0_and_2(self) -> None:
        assert devices(load("four-gpu"), "orchestrator") == [[0], [2]]

    def test_grandpa_and_translator_are_at_urls(self) -> None:
        config = load("four-gpu")
        for name in ("grandpa", "translator"):
            assert config.pools[name].engine == "openai"
            assert all(url and url.startswith("http://") for url in urls(config, name))
            assert devices(config, name) == [[]]

    def test_each_role_has_its_pool_and_naughty_runs_two_at_once(self) -> None:
        config = load("four-gpu")
        assert {name: alias.pool for name, alias in config.aliases.items()} == {
            name: name for name in ("orchestrator", "naughty", "grandpa", "translator")
        }
        assert config.aliases["naughty"].parallel == 2
        assert config.aliases["naughty"].deadline_s == 300
        assert config.aliases["naughty"].mode == "output_file"
        assert config.orchestrator.alias == "orchestrator"
        assert config.orchestrator.generator == "naughty"


class TestDwarfstar:
    def test_the_orchestrator_is_two_nodes_at_urls_with_a_window_of_44k(self) -> None:
        config = load("dwarfstar")
        pool = config.aliases["orchestrator"].pool
        assert urls(config, pool) == ["http://127.0.0.1:8001", "http://127.0.0.1:8002"]
        assert config.pools[pool].context_length == 44 * 1024
        assert "--ctx 98304" in (CONFIGS / "dwarfstar.yaml").read_text(encoding="utf-8")

    def test_the_worker_has_a_window_of_144k(self) -> None:
        config = load("dwarfstar")
        pool = config.pools[config.aliases["coder"].pool]
        assert pool.model.endswith("Qwen3.6-27B")
        assert pool.context_length == 144 * 1024

    def test_the_six_roles_and_who_writes_files(self) -> None:
        aliases = load("dwarfstar").aliases
        assert set(aliases) == {
            "orchestrator", "planner", "coder", "tester", "reviewer", "integrator",
        }  # fmt: skip
        assert {name for name, alias in aliases.items() if alias.mode == "output_file"} == {
            "coder", "tester", "integrator",
        }  # fmt: skip

    def test_what_ds4_may_write_fits_its_deadline_at_the_measured_rate(self) -> None:
        """About 32 tokens/s decode and 227 tokens/s prefill at the slow end of the field study."""
        config = load("dwarfstar")
        for name, alias in config.aliases.items():
            if alias.pool == "ds4":
                prefill_s = config.pools["ds4"].context_length / 227
                assert prefill_s < alias.first_token_deadline_s, name
                assert prefill_s + alias.sampling.max_tokens / 32 < alias.deadline_s, name


class TestCluster:
    def test_the_orchestrators_node_is_the_control_pod(self) -> None:
        labels = load("cluster").cluster.orchestrator_node.labels
        assert labels == {"familiar.dev/role": "control"}

    def test_every_replica_has_a_node_of_its_pool_and_one_gpu(self) -> None:
        config = load("cluster")
        for name, pool in config.pools.items():
            for replica in pool.replicas:
                assert replica.node.labels == {"familiar.dev/pool": name}
                assert len(replica.gpus) == 1

    def test_nothing_is_kept_in_a_home_directory(self) -> None:
        config = load("cluster")
        assert config.store.url.startswith("sqlite:////var/lib/familiar/")
        assert config.workspace.root.startswith("/var/lib/familiar/")
