"""The messages of a plan's stack, each of one kind, rendered from the files of
`familiar/prompts/orchestrator`.

The part that moves stands in the newest message only (`turn_message`): the files that are missing,
the load of the roles, the form of the answer with this turn's tags. Everything else is said once,
where it happened, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from familiar.context.artifact import ArtifactRef
from familiar.context.message import Fact, StackMessage
from familiar.event import Problem, text_ref
from familiar.goal import Goal
from familiar.plan.view import CONTRACT_FILE, EarlierCall, TurnView
from familiar.prompts.prompt import load_prompt

MAX_FAILURE_CHARS = 300
MAX_ANSWER_CHARS = 600
MAX_RECALLED_CHARS = 160
MAX_QUESTIONS = 3
MAX_ARTIFACTS = 40


@dataclass(frozen=True, slots=True)
class Result:
    """A call that ended: a reference to its file, or the beginning of its answer."""

    call: EarlierCall
    artifact: ArtifactRef | None = None
    answer: str = ""

    @property
    def line(self) -> str:
        if self.artifact is not None:
            return f"- {self.artifact.described}"
        if self.answer:
            return f"- {self.call.id} ({self.call.alias}) answered: {_cut(self.answer)}"
        return call_line(self.call)

    def fact(self, run_id: str) -> Fact:
        if self.artifact is not None:
            return Fact(self.artifact.fact.key, f"- {self.artifact.line}")
        said = f" answered: {_cut(self.answer, MAX_RECALLED_CHARS)}" if self.answer else ""
        line = f"- {self.call.id} ({self.call.alias}){said}" if said else call_line(self.call)
        return Fact(f"call:{run_id}:{self.call.id}", line)


def goal_message(goal: Goal) -> StackMessage:
    text = goal.text.strip()
    recalled = Fact(
        f"goal:{text_ref(text).sha256[:12]}", f"- Earlier goal: {_cut(text, MAX_RECALLED_CHARS)}"
    )
    return StackMessage("goal", load_prompt("orchestrator/goal").render(goal=text), (recalled,))


def turn_message(
    view: TurnView, *, tells_load: bool, again: bool = False, wire: str = ""
) -> StackMessage:
    """The state of the run and the request; the newest message of every plan prompt."""
    state = [*_state(view)]
    if tells_load and view.roles:
        state.append(load_prompt("orchestrator/load").render(load=_load(view)))
    text = load_prompt("orchestrator/turn").render(
        state="\n".join(state), turn=str(view.turn), again=" again" if again else "", wire=wire
    )
    return StackMessage("turn", text.strip())


def results_message(turn: int, results: Sequence[Result], run_id: str) -> StackMessage:
    text = load_prompt("orchestrator/results").render(
        turn=str(turn), results="\n".join(result.line for result in results) or "none"
    )
    return StackMessage("results", text, tuple(result.fact(run_id) for result in results))


def rejected_message(problems: Sequence[Problem]) -> StackMessage:
    text = load_prompt("orchestrator/rejected").render(
        problems="\n".join(f"- {problem.message}" for problem in problems)
    )
    return StackMessage("rejected", text)


def contract_message(contract: ArtifactRef) -> StackMessage:
    text = load_prompt("orchestrator/contract").render(contract=contract.described)
    return StackMessage("contract", text)


def artifacts_message(artifacts: Sequence[ArtifactRef]) -> StackMessage:
    """Files of earlier runs that nothing on the stack speaks of, by reference."""
    named = [f"- {artifact.described}" for artifact in artifacts[:MAX_ARTIFACTS]]
    if len(artifacts) > MAX_ARTIFACTS:
        named.append(f"- and {len(artifacts) - MAX_ARTIFACTS} more")
    text = load_prompt("orchestrator/artifacts").render(artifacts="\n".join(named))
    facts = (Fact(artifact.fact.key, f"- {artifact.line}") for artifact in artifacts)
    return StackMessage("artifact", text, tuple(facts))


def rules_planned_message(turn: int, reason: str) -> StackMessage:
    text = load_prompt("orchestrator/rules-planned").render(turn=str(turn), reason=reason)
    return StackMessage("decision", text)


def repaired_message(turn: int, repairs: Sequence[Problem]) -> StackMessage:
    changes = "\n".join(f"- {repair.message}" for repair in repairs)
    text = load_prompt("orchestrator/repaired").render(turn=str(turn), repairs=changes)
    return StackMessage("decision", text)


def no_answer_message() -> StackMessage:
    """Stands where the model gave none, so that the two sides of the chat take turns."""
    return StackMessage("plan", load_prompt("orchestrator/no-answer").text)


def wrong_message(problem: str) -> StackMessage:
    """The problem of an answer that could not be read completely."""
    return StackMessage("rejected", load_prompt("recovery/again").render(problem=problem))


def question_messages(call: EarlierCall, answer: str) -> Iterable[StackMessage]:
    """Questions in a worker's answer: the first few lines that end in a question mark."""
    lines = (line.strip(" -*#>\t") for line in answer.splitlines())
    asked = [line for line in lines if line.endswith("?") and len(line) > 1]
    prompt = load_prompt("orchestrator/question")
    for question in asked[:MAX_QUESTIONS]:
        text = prompt.render(
            call=call.id, alias=call.alias, question=_cut(question, MAX_FAILURE_CHARS)
        )
        yield StackMessage("question", text)


def synthesis_message(answer: str) -> StackMessage:
    text = load_prompt("orchestrator/answered").render(answer=_cut(answer))
    recalled = _cut(answer, MAX_RECALLED_CHARS)
    fact = Fact(f"answer:{text_ref(answer).sha256[:12]}", f"- Its answer: {recalled}")
    return StackMessage("synthesis", text, (fact,))


def summarise(facts: Sequence[str]) -> str:
    return load_prompt("orchestrator/summary").render(facts="\n".join(facts))


def call_line(call: EarlierCall) -> str:
    """One call in one line: id, role, its file or its failure."""
    wrote = call.output_file
    made = f" made {wrote}" if wrote and call.status == "done" else ""
    wanted = f", {wrote}" if wrote and call.status != "done" else ""
    why = f": {call.failure[:MAX_FAILURE_CHARS]}" if call.failure else ""
    advice = f". To do: {call.advice}" if call.advice else ""
    return f"- {call.id} ({call.alias}) {call.status}{made}{wanted}{why}{advice}"


def _cut(text: str, limit: int = MAX_ANSWER_CHARS) -> str:
    flat = " ".join(text[: limit * 2].split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def _load(view: TurnView) -> str:
    load = view.load
    return "; ".join(
        f"{role.alias} {load.running.get(role.alias, 0)} of {role.parallel} busy, "
        f"{load.waiting.get(role.alias, 0)} waiting, "
        + (
            f"{load.rates[role.alias]:.3g} tokens/s a call"
            if role.alias in load.rates
            else "not measured yet"
        )
        for role in view.roles
    )


def _state(view: TurnView) -> list[str]:
    made = sum(1 for name in view.made if name != CONTRACT_FILE)
    lines = []
    if view.missing:
        lines.append(f"Files still to be written: {', '.join(view.missing)}.")
    if made:
        lines.append(f"Files that are there: {made}.")
    if view.shares_parts and CONTRACT_FILE in view.made:
        lines.append("The shared parts are there.")
    return [*lines, *view.notices]
