"""One request as the JSON that a server takes."""

from __future__ import annotations

import json

from pydantic import JsonValue

from actors.engines.openai.settings import OpenAIArgs
from familiar.config.schema import ThinkingConfig
from familiar.engine import GenerateRequest, OutputGrammar

CONTINUE = "Continue exactly where the text above stops; repeat nothing."


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
