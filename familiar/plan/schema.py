"""The JSON schema of exactly the plans that this turn may have.

A model that is held to the schema while decoding cannot name a role that does not exist, a file
that the goal does not ask for, or more calls than are allowed. Strings are bounded, so that a weak
model's plan ends. Ids are free within a pattern; what only a whole plan can get wrong (cycles,
double ids, missing files) is left to `lint`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from familiar.plan.view import CONTRACT_FILE, TurnView

MAX_PROMPT_CHARS = 2_000
MAX_NEEDS = 8
ID_PATTERN = "[a-z][a-z0-9_-]{0,23}"


def plan_schema(
    view: TurnView, *, max_prompt_chars: int = MAX_PROMPT_CHARS
) -> dict[str, JsonValue]:
    """A JSON schema for `{"continue": bool, "worker_calls": [...]}`."""
    files: list[JsonValue] = [*view.missing]
    if view.contract_is_due:
        files.insert(0, CONTRACT_FILE)
    call: dict[str, JsonValue] = {
        "id": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
        "alias": {"type": "string", "enum": [role.alias for role in view.roles]},
        "prompt": {"type": "string", "minLength": 8, "maxLength": max_prompt_chars},
        "depends_on": {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
            "maxItems": min(8, view.max_calls),
        },
    }
    if files:
        call["output_file"] = {"type": "string", "enum": files}
    elif not view.goal.files:
        call["output_file"] = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_./-]{0,80}$"}
    readable: list[JsonValue] = [*view.made, *(file for file in files if file not in view.made)]
    if readable and "output_file" in call:
        call["needs"] = {
            "type": "array",
            "items": {"type": "string", "enum": readable},
            "maxItems": MAX_NEEDS,
        }
    return {
        "type": "object",
        "properties": {
            "continue": {"type": "boolean"},
            "worker_calls": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": call,
                    "required": ["id", "alias", "prompt", "depends_on"],
                    "additionalProperties": False,
                },
                "maxItems": view.max_calls,
            },
        },
        "required": ["continue", "worker_calls"],
        "additionalProperties": False,
    }


def schema_json(schema: Mapping[str, JsonValue]) -> str:
    """The schema as text, the same bytes for the same schema."""
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))
