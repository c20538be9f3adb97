"""The configuration as typed values: pools, replicas, aliases, budgets, store, workspace, API.

One YAML describes a deployment. Unknown keys are rejected (`load.py` names the nearest valid one),
so a typo can never silently become a default. Values that are paths stay text here; they are
expanded once, at the entry point.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from familiar.config.url import checked_url

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def _without_placeholder(text: str) -> str:
    if _PLACEHOLDER.search(text):
        raise ValueError("variables are not replaced here; write the value")
    return text


_PLACEHOLDER = re.compile(r"\$\{\w+[^}]*\}|\{\{|^\$\w")
Literally = Annotated[str, AfterValidator(_without_placeholder)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _a_truth_value_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads yes, no, on and off as truth values, and pydantic takes those for 1 and 0."""
        kind = cls.model_fields[info.field_name].annotation if info.field_name else None
        if isinstance(value, bool) and kind in (int, float, int | None, float | None):
            raise ValueError("a number is expected, and YAML reads this as a truth value")
        return value


class NodeSelector(_Strict):
    """Which node a replica goes to: Ray node labels that must all match. Empty means any node."""

    labels: dict[str, str] = Field(default_factory=dict)


class ReplicaConfig(_Strict):
    """One engine. It is pinned to GPUs (index or UUID), or to CPU cores, or it is a URL."""

    gpus: list[int | str] = Field(default_factory=list, description="GPU indices or UUIDs")
    cores: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list, description="CPU cores")
    url: str | None = Field(None, description="base URL of a server, for engines that are remote")
    node: NodeSelector = Field(default_factory=NodeSelector)

    @field_validator("url")
    @classmethod
    def _is_a_base_url(cls, url: str | None) -> str | None:
        return None if url is None else checked_url(url)

    @model_validator(mode="after")
    def _one_kind_of_device(self) -> ReplicaConfig:
        if self.gpus and self.cores:
            raise ValueError("a replica is pinned to gpus or to cores, not to both")
        if len(set(map(str, self.gpus))) != len(self.gpus) or len(set(self.cores)) != len(
            self.cores
        ):
            raise ValueError("a device is named twice in one replica")
        return self


EngineKind = Literal["vllm", "openai", "scripted"]


class PriceConfig(_Strict):
    """The price of a million tokens of a pool, in `currency`."""

    input_per_million: Annotated[float, Field(ge=0)]
    output_per_million: Annotated[float, Field(ge=0)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"


class ThinkingConfig(_Strict):
    """Switches for the reasoning of a pool's model. A key that is not set is left to the model."""

    enabled: bool | None = Field(
        None, description="`enable_thinking` and `thinking` of the chat template (Qwen, DeepSeek)"
    )
    effort: str | None = Field(
        None, description="`reasoning_effort`: none, minimal, low, medium, high (OpenAI, gpt-oss)"
    )
    budget_tokens: Annotated[int, Field(ge=0)] | None = Field(
        None, description="reasoning tokens at most, where the server or vLLM can bound them"
    )
    template_kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="other arguments of the chat template"
    )

    def template_arguments(self) -> dict[str, JsonValue]:
        """The arguments of the chat template."""
        switch: dict[str, JsonValue] = {}
        if self.enabled is not None:
            switch = {"enable_thinking": self.enabled, "thinking": self.enabled}
        return switch | self.template_kwargs


class PoolConfig(_Strict):
    """One model and its replicas."""

    engine: EngineKind
    model: Literally = Field(
        description="a path, a hub name, `embedded:smollm2`, or the server's name"
    )
    replicas: list[ReplicaConfig] = Field(min_length=1)
    context_length: Annotated[int, Field(ge=256)] = 4096
    slots: Annotated[int, Field(ge=1, le=4096)] = Field(
        4, description="calls that one replica may have in flight at once"
    )
    engine_args: dict[str, JsonValue] = Field(
        default_factory=dict, description="passed to the engine unchanged"
    )
    thinking: ThinkingConfig | None = Field(None, description="switches for the model's reasoning")
    api_key_env: str | None = Field(None, description="environment variable with the URL's key")
    start_deadline_s: Seconds = 900.0
    health_interval_s: Seconds = 5.0
    price: PriceConfig | None = Field(None, description="for pools that cost money by the token")


class SamplingConfig(_Strict):
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: Annotated[int, Field(ge=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=5)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    seed: int | None = None
    stop: list[str] = Field(default_factory=list)


class AliasConfig(_Strict):
    """A role that a plan can name."""

    pool: Name
    prompt: str = Field("", description="a prompt of familiar/prompts/alias, by name")
    description: str = Field("", description="one line that the orchestrator reads about this role")
    mode: Literal["text", "output_file"] = "text"
    parallel: Annotated[int, Field(ge=1, le=4096)] = 4
    deadline_s: Seconds = Field(300.0, description="from the start on a replica to the last token")
    queue_deadline_s: Seconds = Field(600.0, description="from ready to the start on a replica")
    first_token_deadline_s: Seconds = 120.0
    stall_deadline_s: Seconds = Field(60.0, description="the longest time between two tokens")
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    wire: Literal["json", "xml", "toml", "html"] = Field(
        "json",
        description="how this role writes a plan: json is held to a schema while decoding, the "
        "others are tags of familiar.wire",
    )
    window_tokens: Annotated[int, Field(ge=64)] | None = Field(
        None,
        description="prompt tokens that this role is given at most; default: the pool's "
        "context_length less sampling.max_tokens",
    )
    enabled: bool = True


class OrchestratorConfig(_Strict):
    """The planning alias, its number of attempts, and its prompt."""

    alias: Name = "orchestrator"
    plan_tries: Annotated[int, Field(ge=0, le=20)] = Field(
        2, description="invalid plans in one turn before the rules planner takes over"
    )
    rules_planner: bool = Field(True, description="whether the rules planner may take over")
    generator: Name | None = Field(
        None,
        description="the alias that the rules planner gives files to; default: the first that "
        "writes files",
    )
    reviewer: Name | None = Field(
        None, description="the alias that the rules planner asks to review"
    )
    prompt: Literal["v1", "v2"] = Field(
        "v2",
        description="v2 tells the orchestrator of roles, limits and decomposition; v1 is one fixed "
        "text, kept for comparison",
    )
    max_prompt_chars: Annotated[int, Field(ge=40)] = 2_000
    synthesis: bool = Field(True, description="whether runs get partial and final syntheses")
    partial_synthesis: Literal["rules", "model", "none"] = Field(
        "rules", description="author of the interim answer after each turn but the last"
    )
    max_calls_per_turn: Annotated[int, Field(ge=1, le=4096)] = 32


class ContractConfig(_Strict):
    """The parts that a run's files share. `html-page` splices header, navigation and footer
    around each page's slot; `none` leaves files as the model wrote them."""

    kind: Literal["none", "html-page"] = "none"
    grammar: bool = Field(
        False,
        description="hold slots to their output grammar while decoding: for small models, whose "
        "pages are then plain but always well-formed; larger ones are checked and repaired",
    )


class BudgetConfig(_Strict):
    """Hard limits of one run. At the share `soft` of one, the orchestrator is told; at the limit,
    the run ends with the files written so far."""

    turns: Annotated[int, Field(ge=1)] = 12
    model_calls: Annotated[int, Field(ge=1)] = 400
    tokens: Annotated[int, Field(ge=1)] = Field(20_000_000, description="prompt and output")
    output_tokens: Annotated[int, Field(ge=1)] = 2_000_000
    wall_s: Seconds = 4 * 3600.0
    recoveries: Annotated[int, Field(ge=0)] = Field(
        200, description="failed attempts that were followed by another one, over all calls"
    )
    money: Annotated[float, Field(gt=0)] | None = Field(
        None, description="in the one currency of the pools that have a price"
    )
    soft: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="share of each limit at which the orchestrator is told"
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        3, description="attempts of one worker call"
    )


class StoreConfig(_Strict):
    url: Literally = "sqlite:///~/.local/state/familiar/familiar.db"


class WorkspaceConfig(_Strict):
    """Where sessions keep their files: below `root`, a new git repository for each, or in
    `repository`, one that exists already."""

    root: Literally = "~/.local/state/familiar/workspaces"
    repository: Literally | None = None
    acting_files: list[str] = Field(
        default_factory=list,
        description="files of `repository` that a plan may write although programs act on them by "
        "their name (Makefile, .github/…) and the goal does not name them: paths, with * for any "
        "characters",
    )
    max_file_mib: Annotated[float, Field(gt=0, le=1024)] = 16.0


class ApiConfig(_Strict):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8321
    auth: Literal["bearer", "none"] = "bearer"
    keys: list[str] = Field(
        default_factory=list,
        description="bearer keys: `env:NAME`, `file:PATH` (one a line), or `sha256:HEX`",
    )
    max_goal_bytes: Annotated[int, Field(ge=1)] = 1_000_000

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> ApiConfig:
        if self.auth == "none" and self.host not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError(
                f"auth: none is only for a loopback address, and host is {self.host}; "
                "set auth: bearer and name keys, or host: 127.0.0.1"
            )
        if self.auth == "none" and self.keys:
            raise ValueError("auth: none uses no keys; set auth: bearer, or remove keys")
        if self.auth == "bearer" and not self.keys:
            raise ValueError("auth: bearer needs at least one entry in keys, e.g. env:FAMILIAR_KEY")
        return self


class ClusterConfig(_Strict):
    """The local Ray that is started when no address is given."""

    num_cpus: Annotated[int, Field(ge=1)] | None = None
    logical_gpus: Annotated[int, Field(ge=0, le=64)] = Field(
        0, description="number of GPUs that Ray should assume without having any (for tests)"
    )
    object_store_mib: Annotated[int, Field(ge=80)] = 200
    labels: dict[str, str] = Field(default_factory=dict)
    orchestrator_node: NodeSelector = Field(
        default_factory=NodeSelector,
        description="the node with the database file and the workspace; by default the node where "
        "the deployment is started",
    )


class Config(_Strict):
    """A whole deployment."""

    deployment: Name = Field("familiar", description="namespace of its actors and groups")
    pools: dict[Name, PoolConfig] = Field(min_length=1)
    aliases: dict[Name, AliasConfig] = Field(min_length=1)
    orchestrator: OrchestratorConfig = Field(default_factory=OrchestratorConfig)
    contract: ContractConfig = Field(default_factory=ContractConfig)
    budgets: BudgetConfig = Field(default_factory=BudgetConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    workspace: WorkspaceConfig = Field(default_factory=WorkspaceConfig)
    api: ApiConfig
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        for name, alias in self.aliases.items():
            if alias.pool not in self.pools:
                raise ValueError(
                    f"alias {name} names pool {alias.pool}, which is not in pools "
                    f"({', '.join(self.pools)})"
                )
        for name in filter(
            None,
            (self.orchestrator.alias, self.orchestrator.generator, self.orchestrator.reviewer),
        ):
            if name not in self.aliases:
                raise ValueError(
                    f"alias {name} is named but not in aliases ({', '.join(self.aliases)})"
                )
        for name, pool in self.pools.items():
            for index, replica in enumerate(pool.replicas):
                where = f"pools.{name}.replicas.{index}"
                if pool.engine == "openai" and replica.url is None:
                    raise ValueError(f"{where}: engine openai needs a url")
                # A scripted engine stands in for any other and may keep that one's keys.
                if pool.engine == "vllm" and replica.url is not None:
                    raise ValueError(f"{where}: engine vllm does not use a url")
            if pool.engine == "vllm" and pool.api_key_env is not None:
                raise ValueError(f"pools.{name}: engine vllm does not use api_key_env")
        self._money_has_one_currency()
        self._devices_are_used_once()
        return self

    def _money_has_one_currency(self) -> None:
        if self.budgets.money is None:
            return
        currencies = sorted({pool.price.currency for pool in self.pools.values() if pool.price})
        if not currencies:
            raise ValueError("budgets.money is set and no pool has a price")
        if len(currencies) > 1:
            raise ValueError(
                f"budgets.money needs one currency, and pools have {', '.join(currencies)}"
            )

    def _devices_are_used_once(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for name, pool in self.pools.items():
            for index, replica in enumerate(pool.replicas):
                node = repr(sorted(replica.node.labels.items()))
                for device in [f"gpu {g}" for g in replica.gpus] + [
                    f"core {c}" for c in replica.cores
                ]:
                    here = f"{name}:{index}"
                    other = seen.setdefault((node, device), here)
                    if other != here:
                        raise ValueError(f"{device} is named by replica {other} and by {here}")
