"""Windows, and the estimate that keeps them."""

from __future__ import annotations

import pytest

from familiar.config.schema import AliasConfig, ApiConfig, Config, PoolConfig, ReplicaConfig
from familiar.context.tokens import MIN_WINDOW, estimate_tokens, window_of


def config(alias: AliasConfig, context_length: int) -> Config:
    pool = PoolConfig(
        engine="scripted", model="m", replicas=[ReplicaConfig()], context_length=context_length
    )
    return Config(pools={"p": pool}, aliases={"orchestrator": alias}, api=ApiConfig(auth="none"))


@pytest.mark.parametrize(
    ("context_length", "window_tokens", "expected"),
    [
        (8_192, None, 7_192),
        (131_072, 44_000, 44_000),
        (8_192, 44_000, 7_192),
        (1_024, None, MIN_WINDOW),
    ],
)
def test_a_window_is_what_is_configured_but_never_more_than_the_context_leaves(
    context_length: int, window_tokens: int | None, expected: int
) -> None:
    alias = AliasConfig.model_validate(
        {"pool": "p", "window_tokens": window_tokens, "sampling": {"max_tokens": 1_000}}
    )
    assert window_of(alias, config(alias, context_length)) == expected


def test_text_of_other_scripts_is_not_underestimated() -> None:
    assert estimate_tokens("word " * 30) == 51
    assert estimate_tokens("診療時間" * 30) > 51


def test_the_estimate_grows_with_the_text() -> None:
    sizes = [estimate_tokens("a" * n) for n in range(50)]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0
