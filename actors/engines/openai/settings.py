"""How one server differs from the others: `engine_args` of a pool with engine openai."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Path = Annotated[str, Field(pattern=r"^(/[^\s?#]*)?$")]


class OpenAIArgs(BaseModel):
    """The defaults fit vLLM, SGLang, llama.cpp, LM Studio, ollama and most gateways."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_path: Path | None = Field(
        None,
        description="path of the API below the replica's url; default: none where the url has a "
        "version itself (`/v1`, `/api/paas/v4`), else `/v1`",
    )
    query: dict[str, str] = Field(
        default_factory=dict, description="added to every URL, for example `api-version`"
    )
    health_path: Path | None = Field(
        None,
        description="GET that tells whether the server is well, below the url without its version; "
        "default: `/health`, and the list of models where there is none. Name another one where "
        "`/health` makes calls that cost money (`/health/liveliness` of LiteLLM)",
    )
    check_model: bool = Field(True, description="look for the model in the server's list")
    headers: dict[str, str] = Field(
        default_factory=dict, description="sent with every request; `env:NAME` reads a variable"
    )
    key_header: str = Field(
        "Authorization", description="header of the key; any other name gets the key without Bearer"
    )
    ca_file: str | None = Field(None, description="PEM file of the authority that signs for https")
    connect_timeout_s: float = Field(10.0, gt=0, le=600)
    patience_s: float | None = Field(
        None,
        ge=0,
        le=7 * 24 * 3600,
        description="how long a call waits for a server that is not up, loads or is busy; default: "
        "100 where the pool has one replica, 5 where another one can take the call",
    )
    grammar: Literal["response_format", "structured_outputs", "guided", "none"] = Field(
        "response_format",
        description="how an output grammar is sent: `response_format` (JSON schemas only), "
        "`structured_outputs` (vLLM), `guided` (older vLLM), or `none`: checked after decoding",
    )
    continuation: Literal["continue_final_message", "message"] = Field(
        "message",
        description="how an unfinished answer goes on: with vLLM's fields, or by a message that "
        "asks for it, which works everywhere and less exactly",
    )
    system_role: Literal["system", "developer", "user"] = Field(
        "system", description="role of system messages; `user` puts them before the first user's"
    )
    omit: tuple[str, ...] = Field(
        (), description="fields that the server rejects, for example `stream_options`, `top_p`"
    )
    rename: dict[str, str] = Field(
        default_factory=dict,
        description="fields with another name, for example `max_tokens: max_completion_tokens`",
    )
    thinking_budget_field: str = Field(
        "thinking_token_budget", description="field of the pool's thinking.budget_tokens"
    )
    body: dict[str, JsonValue] = Field(
        default_factory=dict, description="added to every request as it is"
    )
