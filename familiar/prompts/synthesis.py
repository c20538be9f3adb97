"""The messages of a synthesis: the goal, the results, and the request for a few
sentences. A partial one also lists the missing files."""

from __future__ import annotations

from familiar.engine import Message
from familiar.event import SynthesisKind
from familiar.plan.view import CONTRACT_FILE, TurnView
from familiar.prompts.planning import call_line
from familiar.prompts.prompt import Prompt, load_prompt

MAX_GOAL_CHARS = 2_000


def synthesis_messages(
    view: TurnView, kind: SynthesisKind = "final"
) -> tuple[tuple[Message, ...], Prompt]:
    """Messages and the prompt they were rendered from. The goal is cut to its head: it is only
    recalled."""
    prompt = load_prompt(f"synthesis/{kind}")
    calls = [call for call in view.earlier if call.output_file != CONTRACT_FILE]
    values = {
        "goal": view.goal.text.strip()[:MAX_GOAL_CHARS],
        "results": "\n".join(call_line(call) for call in calls) or "nothing",
    }
    if kind == "partial":
        values["missing"] = "\n".join(f"- {file}" for file in view.missing) or "no file"
    return (Message("user", prompt.render(**values)),), prompt
