"""One request as the JSON that a server takes, and how servers differ in that: `engine_args` of a
pool with engine openai."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from familiar.config.schema import ThinkingConfig
from familiar.engine import GenerateRequest, OutputGrammar

Path = Annotated[str, Field(pattern=r"^(/[^\s?#]*)?$")]
CONTINUE = "Continue exactly where the text above stops; repeat nothing."


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


def request_body(
    request: GenerateRequest, model: str, args: OpenAIArgs, thinking: ThinkingConfig | None = None
) -> dict[str, JsonValue]:
    """The body of a chat completion. Fields that are not set are left out: servers reject fields
    that they do not know."""
    sampling = request.sampling
    body: dict[str, JsonValue] = {
        "model": model,
        "messages": _messages(request, args),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.top_k is not None:
        body["top_k"] = sampling.top_k
    if sampling.repetition_penalty is not None:
        body["repetition_penalty"] = sampling.repetition_penalty
    if request.continue_final and args.continuation == "continue_final_message":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.grammar is not None:
        body |= _grammar(request.grammar, args.grammar)
    if thinking is not None:
        body |= _thinking(thinking, args)
    body = {args.rename.get(name, name): value for name, value in body.items()}
    return {name: value for name, value in body.items() if name not in args.omit} | args.body


def _messages(request: GenerateRequest, args: OpenAIArgs) -> list[JsonValue]:
    said: list[tuple[str, str]] = [(m.role, m.content) for m in request.messages]
    if request.continue_final and args.continuation == "message":
        said.append(("user", CONTINUE))
    if args.system_role == "user":
        return _without_system(said)
    return [
        {"role": args.system_role if role == "system" else role, "content": content}
        for role, content in said
    ]


def _without_system(said: list[tuple[str, str]]) -> list[JsonValue]:
    """System text stands before the text of the user's message that follows; roles alternate."""
    messages: list[tuple[str, str]] = []
    for role, content in said:
        shown = "user" if role == "system" else role
        if messages and shown == "user" and messages[-1][0] == "user":
            messages[-1] = ("user", f"{messages[-1][1]}\n\n{content}")
        else:
            messages.append((shown, content))
    return [{"role": role, "content": content} for role, content in messages]


def _thinking(thinking: ThinkingConfig, args: OpenAIArgs) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {}
    if kwargs := thinking.template_arguments():
        body["chat_template_kwargs"] = kwargs
    if thinking.effort is not None:
        body["reasoning_effort"] = thinking.effort
    if thinking.budget_tokens is not None:
        body[args.thinking_budget_field] = thinking.budget_tokens
    return body


def _grammar(grammar: OutputGrammar, way: str) -> dict[str, JsonValue]:
    if way == "none" or (way == "response_format" and grammar.kind != "json"):
        return {}
    if way == "response_format":
        schema = {"name": "answer", "schema": json.loads(grammar.text), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    name = {"json": "json", "ebnf": "grammar", "regex": "regex"}[grammar.kind]
    value: JsonValue = json.loads(grammar.text) if grammar.kind == "json" else grammar.text
    return {f"guided_{name}": value} if way == "guided" else {"structured_outputs": {name: value}}
