"""Texts and URLs: nothing is half understood, and nothing is dropped in silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from familiar.config.load import load_config, parse_config
from familiar.errors import ConfigError
from tests.familiar.config.test_load import SMALL, parse, refusal, small


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8001", "begins with http://"),
        ("localhost:8001", "begins with http://"),
        ("ftp://x", "begins with http://"),
        ("//host:1", "begins with http://"),
        ("", "begins with http://"),
        ("http://", "begins with http://"),
        ("http://:80", "not a host name"),
        ("http://127.0.0.1:99999", "not a URL"),
        ("http://127.0.0.1:eighty", "not a URL"),
        ("http://127.0.0.1:0", "port 0"),
        ("http://[::1", "not a URL"),
        ("http://a b:80", "not a host name"),
        ("http://host:80/v1/chat/completions", "give the base URL: http://host:80/v1"),
        ("https://host/v1/models/", "give the base URL: https://host/v1"),
        ("http://svc:PW@host:1/v1", "no user or password"),
        ("http://host/v1?api-key=Q", "no ? and no #"),
        ("http://host/v 1", "no blanks"),
    ],
)
def test_a_url_that_cannot_work_is_explained_and_no_secret_repeated(url: str, said: str) -> None:
    error = refusal(small(pools__large__replicas=[{"url": url}]))
    assert said in str(error)
    assert "pools.large.replicas.0.url" in str(error)
    assert "PW" not in str(error)
    assert "api-key=Q" not in str(error)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8001", "https://host/v1/", "http://[::1]:8001", "http://a-b.c_d:1/api/v4"],
)
def test_usual_urls_are_taken(url: str) -> None:
    parsed = parse(small(pools__large__replicas=[{"url": f" {url}\n"}]))
    assert parsed.pools["large"].replicas[0].url == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pools: {}\npools: {}\n", "the key pools is defined twice, in line 1 and"),
        ("a: {<<: {b: 1}, <<: {c: 1}}\n", "the key << is defined twice"),
        ("api: {port: 017}\n", "017 is a number of another base"),
        ("api: {port: 8:30}\n", "8:30 is a number of another base"),
        ("deployment: 12:30:00.5\n", "12:30:00.5 is a number of another base"),
        ("api:\n  port: 1\n  port: 2\n", "the key port is defined twice, in line 2 and"),
        ("api: {port: 1, 'port': 2}\n", "is defined twice"),
        ("a: 2026-13-45\n", "not valid YAML"),
        ("a: !!int x\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: &a [*a]\n", "problem"),
        ("- 1\n", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_no_text_is_half_understood(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_config(text)


def test_merged_keys_may_be_overridden() -> None:
    text = yaml.safe_dump(SMALL) + "x: &x {a: 1}\ny: {<<: *x, a: 2}\n"
    assert "unknown key x" in str(refusal(yaml.safe_load(text)))
    with pytest.raises(ConfigError, match="unknown key"):
        parse_config(text)


def test_keys_that_nothing_would_read_are_named() -> None:
    for changes, said in (
        (
            {"pools__small__engine": "vllm", "pools__small__replicas": [{"url": "http://h:1"}]},
            "does not use a url",
        ),
        (
            {"pools__small__engine": "vllm", "pools__small__api_key_env": "KEY"},
            "does not use api_key_env",
        ),
        ({"api__auth": "none"}, "auth: none uses no keys"),
    ):
        assert said in str(refusal(small(**changes)))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(text)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    with pytest.raises(ConfigError):
        load_config("a\x00b")
    path.write_text("\ufeff" + yaml.safe_dump(SMALL), encoding="utf-8")
    assert load_config(path).pools


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "true", "False"])
def test_a_truth_value_is_neither_a_number_nor_a_text(word: str) -> None:
    number = refusal(small(api__port=yaml.safe_load(word)))
    assert "api.port: a number is expected, and YAML reads this as a truth value" in str(number)
    text = refusal(small(pools__small__model=yaml.safe_load(word)))
    assert "YAML reads this as a truth value: put it in quotes" in str(text)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("2026-01-01", "date"), ("2026-01-01 10:00:00", "date"), ("1_000", "number")],
)
def test_a_text_that_yaml_reads_as_another_value_is_named(value: str, kind: str) -> None:
    error = refusal(small(pools__small__model=yaml.safe_load(value)))
    assert f"pools.small.model: Input should be a valid string; YAML reads this as a {kind}" in str(
        error
    )


@pytest.mark.parametrize("text", ["${HOME}/x", "$HOME/x", "{{ home }}/x", "${MODEL:-small}"])
@pytest.mark.parametrize("field", ["pools__small__model", "workspace__root", "store__url"])
def test_a_placeholder_is_not_taken_for_its_value(field: str, text: str) -> None:
    error = refusal(small(**{field: text}))
    assert f"{field.replace('__', '.')}: variables are not replaced here" in str(error)
