"""A configuration is either understood to the last key or refused with a reason and a remedy."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from familiar.config.load import config_hash, load_config, parse_config
from familiar.config.schema import (
    AliasConfig,
    ApiConfig,
    BudgetConfig,
    ClusterConfig,
    Config,
    OrchestratorConfig,
    PoolConfig,
    ReplicaConfig,
    SamplingConfig,
)
from familiar.errors import ConfigError

Yaml = dict[str, Any]

SMALL: Yaml = {
    "pools": {
        "small": {"engine": "scripted", "model": "m", "replicas": [{"gpus": [0]}, {"gpus": [1]}]},
        "large": {"engine": "openai", "model": "m", "replicas": [{"url": "http://127.0.0.1:1"}]},
    },
    "aliases": {"orchestrator": {"pool": "large"}, "naughty": {"pool": "small"}},
    "api": {"keys": ["env:FAMILIAR_KEY"]},
}


def small(**changes: object) -> Yaml:
    """A valid configuration; `changes` are dotted paths with `__` for the dot, list indices too."""
    data = copy.deepcopy(SMALL)
    for path, value in changes.items():
        below: Any = data
        *parents, last = path.split("__")
        for part in parents:
            below = below[int(part)] if isinstance(below, list) else below.setdefault(part, {})
        below[last] = value
    return data


def parse(data: Yaml, overrides: dict[str, object] | None = None) -> Config:
    return parse_config(
        yaml.safe_dump(data, sort_keys=False), source="small.yaml", overrides=overrides
    )


def refusal(data: Yaml, overrides: dict[str, object] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(data, overrides)
    return caught.value


class TestReading:
    def test_a_file_is_read(self, tmp_path: Path) -> None:
        file = tmp_path / "small.yaml"
        file.write_text(yaml.safe_dump(SMALL, sort_keys=False))
        assert load_config(file) == parse(SMALL)

    def test_the_home_directory_is_expanded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
        assert load_config("~/small.yaml") == parse(SMALL)

    def test_a_missing_file_is_named_and_says_where_to_look(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no configuration file .*absent\.yaml.*configs/"):
            load_config(tmp_path / "absent.yaml")

    def test_a_folder_is_not_a_configuration(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            load_config(tmp_path)

    def test_bytes_that_are_no_text_are_rejected(self, tmp_path: Path) -> None:
        file = tmp_path / "binary.yaml"
        file.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match=r"binary\.yaml is not UTF-8 text"):
            load_config(file)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_a_file_without_permission_is_rejected(self, tmp_path: Path) -> None:
        file = tmp_path / "closed.yaml"
        file.touch(mode=0)
        with pytest.raises(ConfigError, match=r"closed\.yaml cannot be read"):
            load_config(file)

    def test_broken_yaml_is_rejected_with_its_line(self) -> None:
        with pytest.raises(ConfigError, match=r"(?s)not valid YAML.*line 2"):
            parse_config("pools:\n  small: ]\n", source="broken.yaml")

    @pytest.mark.parametrize("text", ["", "- pools\n", "pools\n", "3\n"])
    def test_what_is_not_a_mapping_is_rejected(self, text: str) -> None:
        with pytest.raises(ConfigError, match="must be a mapping with pools, aliases and api"):
            parse_config(text)

    def test_yaml_cannot_make_objects(self) -> None:
        with pytest.raises(ConfigError, match="not valid YAML"):
            parse_config("pools: !!python/object/apply:os.getcwd []\n")

    @given(st.text(max_size=200))
    def test_any_text_is_a_configuration_or_a_config_error(self, text: str) -> None:
        with pytest.raises(ConfigError):
            parse_config(text)


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("path", "key", "nearest"),
        [
            ("pool", "pool", "pools"),
            ("aliasses", "aliasses", "aliases"),
            ("budget", "budget", "budgets"),
            ("pools__small__replica", "replica", "replicas"),
            ("pools__small__context_lenght", "context_lenght", "context_length"),
            ("pools__small__slot", "slot", "slots"),
            ("pools__small__replicas__0__gpu", "gpu", "gpus"),
            ("pools__small__replicas__1__core", "core", "cores"),
            ("pools__small__replicas__0__node", {"label": {}}, "labels"),
            ("aliases__naughty__paralell", "paralell", "parallel"),
            ("aliases__naughty__deadline", "deadline", "deadline_s"),
            ("aliases__naughty__sampling", {"max_token": 3}, "max_tokens"),
            ("orchestrator", {"plan_try": 3}, "plan_tries"),
            ("contract", {"grammer": False}, "grammar"),
            ("budgets", {"turn": 3}, "turns"),
            ("store", {"uri": "x"}, "url"),
            ("workspace", {"roots": "x"}, "root"),
            ("api__key", "key", "keys"),
            ("cluster", {"object_store_mb": 100}, "object_store_mib"),
        ],
    )
    def test_a_typo_is_rejected_with_the_nearest_valid_name(
        self, path: str, key: object, nearest: str
    ) -> None:
        typo = next(iter(key)) if isinstance(key, dict) else key
        message = str(refusal(small(**{path: key})))
        assert f"unknown key {typo}; did you mean {nearest}?" in message

    def test_a_key_like_no_other_is_rejected_with_all_valid_names(self) -> None:
        message = str(refusal(small(store={"zzzzzz": 1})))
        assert "store.zzzzzz: unknown key zzzzzz; valid keys: url" in message

    def test_the_path_of_the_key_and_the_file_are_named(self) -> None:
        error = refusal(small(pools__small__replicas__1__gpu=0))
        assert error.where == "pools.small.replicas.1.gpu"
        assert str(error).startswith("small.yaml has 1 problem(s):")
        assert "pools.small.replicas.1.gpu: " in str(error)

    def test_every_problem_is_reported_at_once(self) -> None:
        data = small(pools__small__slot=1, aliases__naughty__mode="loud", apis={})
        message = str(refusal(data))
        assert "3 problem(s)" in message
        for where in ("pools.small.slot", "aliases.naughty.mode", "apis"):
            assert f"- {where}: " in message

    @given(st.data())
    def test_no_key_that_the_schema_does_not_have_is_ever_taken(self, data: st.DataObject) -> None:
        sections: list[tuple[str, type[BaseModel]]] = [
            ("", Config),
            ("pools__small__", PoolConfig),
            ("pools__small__replicas__0__", ReplicaConfig),
            ("aliases__naughty__", AliasConfig),
            ("aliases__naughty__sampling__", SamplingConfig),
            ("orchestrator__", OrchestratorConfig),
            ("budgets__", BudgetConfig),
            ("api__", ApiConfig),
            ("cluster__", ClusterConfig),
        ]
        prefix, model = data.draw(st.sampled_from(sections))
        letters = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
        key = data.draw(letters.filter(lambda name: name not in model.model_fields))
        assert f"unknown key {key}; " in str(refusal(small(**{prefix + key: 1})))


class TestValues:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("pools__small__slots", 0),
            ("pools__small__slots", "many"),
            ("pools__small__context_length", 255),
            ("pools__small__engine", "vlm"),
            ("pools__small__replicas", []),
            ("pools__small__start_deadline_s", 0),
            ("pools__small__replicas__0__cores", [-1]),
            ("pools__Small", {}),
            ("pools", {}),
            ("aliases", {}),
            ("aliases__naughty__parallel", 0),
            ("aliases__naughty__deadline_s", -1),
            ("aliases__naughty__deadline_s", 8 * 24 * 3600),
            ("aliases__naughty__sampling", {"top_p": 0}),
            ("budgets", {"turns": 0}),
            ("api__port", 65536),
            ("cluster", {"object_store_mib": 1}),
        ],
    )
    def test_a_value_out_of_range_is_rejected_where_it_stands(self, path: str, value: Any) -> None:
        where = path.replace("__", ".")
        assert f"- {where}" in str(refusal(small(**{path: value})))

    @pytest.mark.parametrize("missing", ["pools", "aliases", "api"])
    def test_what_has_no_default_must_be_there(self, missing: str) -> None:
        data = small()
        del data[missing]
        assert f"{missing}: Field required" in str(refusal(data))

    def test_the_documented_defaults(self) -> None:
        config = parse(SMALL)
        assert config.aliases["naughty"].deadline_s == 300
        assert config.api.auth == "bearer"
        assert config.api.host == "127.0.0.1"
        assert config.orchestrator.alias == "orchestrator"

    def test_a_configuration_cannot_be_changed_afterwards(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            parse(SMALL).api.port = 1  # type: ignore[misc]


class TestNamesThatMustResolve:
    def test_an_alias_of_an_unknown_pool(self) -> None:
        message = str(refusal(small(aliases__naughty__pool="tiny")))
        assert "alias naughty names pool tiny, which is not in pools (small, large)" in message

    @pytest.mark.parametrize("role", ["alias", "generator", "reviewer"])
    def test_an_orchestrator_that_names_an_unknown_alias(self, role: str) -> None:
        message = str(refusal(small(orchestrator={role: "grandpa"})))
        assert "alias grandpa is named but not in aliases (orchestrator, naughty)" in message

    def test_the_default_orchestrator_alias_is_not_made_up(self) -> None:
        data = small()
        data["aliases"]["boss"] = data["aliases"].pop("orchestrator")
        assert "alias orchestrator is named but not in aliases" in str(refusal(data))
        data["orchestrator"] = {"alias": "boss"}
        assert parse(data).orchestrator.alias == "boss"


class TestDevices:
    def test_one_gpu_in_two_replicas(self) -> None:
        message = str(refusal(small(pools__small__replicas__1__gpus=[0])))
        assert "gpu 0 is named by replica small:0 and by small:1" in message

    def test_one_gpu_in_two_pools(self) -> None:
        message = str(refusal(small(pools__large__replicas__0__gpus=[1])))
        assert "gpu 1 is named by replica small:1 and by large:0" in message

    def test_one_core_in_two_replicas(self) -> None:
        replicas = [{"cores": [0, 1]}, {"cores": [1, 2]}]
        message = str(refusal(small(pools__small__replicas=replicas)))
        assert "core 1 is named by replica small:0 and by small:1" in message

    def test_a_uuid_is_a_device_like_an_index(self) -> None:
        replicas = [{"gpus": ["GPU-1b"]}, {"gpus": ["GPU-1b"]}]
        assert "gpu GPU-1b is named" in str(refusal(small(pools__small__replicas=replicas)))

    def test_the_same_index_on_another_node_is_another_device(self) -> None:
        replicas = [{"gpus": [0], "node": {"labels": {"host": name}}} for name in ("a", "b")]
        config = parse(small(pools__small__replicas=replicas))
        assert [r.node.labels["host"] for r in config.pools["small"].replicas] == ["a", "b"]

    def test_a_device_named_twice_in_one_replica(self) -> None:
        message = str(refusal(small(pools__small__replicas__0__gpus=[2, 2])))
        assert "pools.small.replicas.0: a device is named twice" in message

    def test_gpus_and_cores_in_one_replica(self) -> None:
        message = str(refusal(small(pools__small__replicas__0__cores=[0])))
        assert "pools.small.replicas.0: a replica is pinned to gpus or to cores" in message

    def test_an_openai_replica_without_a_url(self) -> None:
        message = str(refusal(small(pools__large__replicas=[{}])))
        assert "pools.large.replicas.0: engine openai needs a url" in message


class TestMoney:
    PRICE: Yaml = {"input_per_million": 0.5, "output_per_million": 2.0}  # noqa: RUF012

    def test_a_limit_needs_a_pool_with_a_price(self) -> None:
        assert "no pool has a price" in str(refusal(small(budgets={"money": 5})))
        config = parse(small(budgets={"money": 5}, pools__large__price=self.PRICE))
        price = config.pools["large"].price
        assert price is not None
        assert (price.output_per_million, price.currency) == (2.0, "USD")

    def test_a_limit_is_in_one_currency(self) -> None:
        prices = {
            "pools__large__price": {**self.PRICE, "currency": "EUR"},
            "pools__small__price": self.PRICE,
        }
        assert "pools have EUR, USD" in str(refusal(small(budgets={"money": 5}, **prices)))
        assert parse(small(**prices)).budgets.money is None


class TestAuthentication:
    def test_bearer_without_a_key(self) -> None:
        message = str(refusal(small(api={})))
        assert "auth: bearer needs at least one entry in keys, e.g. env:FAMILIAR_KEY" in message

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
    def test_none_off_loopback(self, host: str) -> None:
        message = str(refusal(small(api={"auth": "none", "host": host})))
        assert "auth: none is only for a loopback address" in message

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
    def test_none_on_loopback(self, host: str) -> None:
        assert parse(small(api={"auth": "none", "host": host})).api.keys == []

    def test_none_is_never_the_default(self) -> None:
        assert parse(SMALL).api.auth == "bearer"

    def test_an_override_is_held_to_the_same_rule(self) -> None:
        message = str(refusal(small(api={"auth": "none"}), {"api.host": "0.0.0.0"}))
        assert "auth: none is only for a loopback address" in message


class TestOverrides:
    def test_a_dotted_path_sets_one_value(self) -> None:
        config = parse(SMALL, {"pools.small.slots": 2, "budgets.turns": 3})
        assert config.pools["small"].slots == 2
        assert config.pools["large"].slots == parse(SMALL).pools["large"].slots
        assert config.budgets.turns == 3

    def test_a_star_stands_for_every_key(self) -> None:
        config = parse(SMALL, {"pools.*.engine": "scripted", "aliases.*.deadline_s": 5.0})
        assert {pool.engine for pool in config.pools.values()} == {"scripted"}
        assert {alias.deadline_s for alias in config.aliases.values()} == {5.0}

    def test_later_overrides_win(self) -> None:
        config = parse(SMALL, {"pools.*.slots": 2, "pools.small.slots": 3})
        assert (config.pools["small"].slots, config.pools["large"].slots) == (3, 2)

    def test_an_override_may_give_what_the_file_lacks(self) -> None:
        data = small()
        del data["api"]
        assert parse(data, {"api.keys": ["env:K"]}).api.keys == ["env:K"]

    def test_a_typo_in_an_override_is_rejected_like_one_in_the_file(self) -> None:
        message = str(refusal(SMALL, {"pools.*.slot": 2}))
        assert "pools.small.slot: unknown key slot; did you mean slots?" in message
        assert "pools.large.slot" in message

    def test_an_unknown_pool_in_an_override_is_rejected(self) -> None:
        assert "pools.tiny.engine: Field required" in str(refusal(SMALL, {"pools.tiny.slots": 2}))

    def test_a_path_through_a_value_is_rejected(self) -> None:
        message = str(refusal(SMALL, {"pools.small.model.name": "x"}))
        assert "pools.small.model.name goes through model, which is not a mapping" in message

    def test_a_value_of_the_wrong_kind_is_rejected(self) -> None:
        assert "pools.small.slots: " in str(refusal(SMALL, {"pools.small.slots": "two"}))

    def test_the_file_stays_as_it_was(self, tmp_path: Path) -> None:
        file = tmp_path / "small.yaml"
        file.write_text(yaml.safe_dump(SMALL, sort_keys=False))
        load_config(file, {"pools.*.slots": 9})
        assert load_config(file) == parse(SMALL)


class TestHash:
    def test_it_is_the_same_for_the_same_content(self) -> None:
        assert config_hash(parse(SMALL)) == config_hash(parse(copy.deepcopy(SMALL)))

    def test_a_default_written_out_changes_nothing(self) -> None:
        assert config_hash(parse(small(budgets={"turns": 12}))) == config_hash(parse(SMALL))

    def test_every_change_changes_it(self) -> None:
        changed = [
            small(pools__small__slots=9),
            small(aliases__naughty__sampling={"seed": 1}),
            small(budgets={"turns": 13}),
            small(deployment="other"),
        ]
        assert len({config_hash(parse(data)) for data in [SMALL, *changed]}) == 5

    def test_it_is_twelve_hex_digits(self) -> None:
        assert len(config_hash(parse(SMALL))) == 12
        int(config_hash(parse(SMALL)), 16)
