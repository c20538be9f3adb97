"""Gather what a brief needs from the history, and have it built.

The prompt of a plan is the run's message stack. It is taken from the prompt that was recorded last,
grown by what happened since, and compacted when it outgrows its window; so a restarted orchestrator
goes on with the same stack, byte for byte. A worker gets the files that it depends on by reference,
and in full those that the plan lists as needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from actors.orchestrator.texts import Texts
from familiar.brief import Brief, sampling_of
from familiar.config.schema import Config
from familiar.context.artifact import ArtifactRef
from familiar.context.compaction import compact
from familiar.context.message import StackMessage
from familiar.context.stack import Stack, read_stack
from familiar.context.tokens import MESSAGE_TOKENS, estimate_tokens, window_of
from familiar.engine import OutputGrammar
from familiar.event import StackCompacted
from familiar.goal import Goal
from familiar.plan.schema import plan_schema, schema_json
from familiar.plan.view import (
    CONTRACT_FILE,
    NO_LOAD,
    EarlierCall,
    PoolLoad,
    TurnView,
    pool_state,
)
from familiar.prompts import planning, recovery
from familiar.prompts.orchestrator import build_orchestrator_system_prompt
from familiar.prompts.synthesis import synthesis_messages
from familiar.prompts.worker import Source, brief_worker
from familiar.run.state import (
    CallState,
    CallStatus,
    RunState,
    TurnState,
    plan_call_id,
    synthesis_call_id,
)
from familiar.run.turn_view import view_turn
from familiar.wire import wire_instruction, wire_suffix


@dataclass(frozen=True, slots=True)
class _Asked:
    """The stack for a plan call. `whole`: it is asked already, and sent without a turn message of
    its own; `goes_on`: it ends with the text that the model had written. `rejected`: a
    plan of this turn was."""

    stack: Stack
    whole: bool = False
    goes_on: bool = False
    rejected: bool = False


class Briefer:
    def __init__(
        self,
        config: Config,
        goal: Goal,
        texts: Texts,
        load: Callable[[], PoolLoad] = lambda: NO_LOAD,
    ) -> None:
        self._config = config
        self._goal = goal
        self._texts = texts
        self._load = load

    async def brief(self, call: CallState, state: RunState) -> Brief:
        """The prompt of the next attempt of `call`, and how it is sampled."""
        if call.kind == "plan":
            return await self._plan(call, state)
        if call.kind == "synthesis":
            brief = self._synthesis(call, state)
        else:
            brief = await self._worker(call, state)
        return await self._followed_up(brief, call)

    async def _followed_up(self, brief: Brief, call: CallState) -> Brief:
        """With what the attempt before leads to: its text to go on from, or its problem."""
        follow_up = call.follow_up
        if follow_up is None:
            return brief
        text = await self._texts.get(follow_up.text.sha256) if follow_up.text else ""
        if follow_up.continues:
            messages = recovery.continued(brief.messages, text)
            goes_on = len(messages) > len(brief.messages)
            return replace(brief, messages=messages, continue_final=goes_on)
        messages = recovery.asked_again(brief.messages, text, follow_up.problem)
        return replace(brief, messages=messages)

    # Plans.

    async def _plan(self, call: CallState, state: RunState) -> Brief:
        config = self._config
        alias = config.aliases[call.planned.alias]
        view = view_turn(config, state, self._goal, self._load())
        name = alias.prompt or f"orchestrator/{config.orchestrator.prompt}"
        system = build_orchestrator_system_prompt(pool_state(config), name)
        asked = await self._asked(call, state, view, system.text)
        stack, compaction = asked.stack, None
        if not asked.whole:
            wire = ""
            if alias.wire != "json":
                wire = wire_instruction(alias.wire, wire_suffix(state.run_id, view.turn))
            turn = planning.turn_message(
                view, tells_load=not name.endswith("/v1"), again=asked.rejected, wire=wire
            )
            window = window_of(alias, config)
            stack, compaction = _within(stack, turn, window, system.text, view.turn)
        grammar = None
        if alias.wire == "json":
            schema = plan_schema(view, max_prompt_chars=config.orchestrator.max_prompt_chars)
            grammar = OutputGrammar("json", schema_json(schema))
        return Brief(
            messages=stack.render(),
            prompt_name=name,
            prompt_version=system.version,
            sampling=sampling_of(alias.sampling, attempt=call.attempt),
            grammar=grammar,
            grammar_name=None if grammar is None else f"plan-turn-{view.turn}",
            stack_json=stack.to_json(),
            compaction=compaction,
            continue_final=asked.goes_on,
        )

    async def _asked(self, call: CallState, state: RunState, view: TurnView, system: str) -> _Asked:
        """The run's stack up to where this turn's own message belongs."""
        if call.prompt is not None:
            stack = read_stack(await self._texts.get(call.prompt.sha256)).without_draft()
            if call.raw is None or _failed_last(call, call.attempt - 1):
                return await self._again(call, stack)
            answer = await self._texts.get(call.raw.sha256)
            rejection = planning.rejected_message(state.turn.problems)
            return _Asked(stack.push(StackMessage("plan", answer), rejection), rejected=True)
        stack, since = await self._base(state, view, system)
        for turn in state.turns[since - 1 : view.turn - 1]:
            stack = stack.push(*await self._what_happened(turn, state, view))
        return _Asked(stack)

    async def _again(self, call: CallState, stack: Stack) -> _Asked:
        """The prompt of an attempt that gave no whole answer, with what that leads to."""
        follow_up = call.follow_up
        if follow_up is None:
            return _Asked(stack, whole=True)
        text = await self._texts.get(follow_up.text.sha256) if follow_up.text else ""
        if follow_up.continues:
            written = text.rstrip()
            goes_on = [StackMessage("plan", written)] if written else []
            return _Asked(stack.push(*goes_on), whole=True, goes_on=bool(written))
        said = planning.no_answer_message()
        if text.strip():
            said = StackMessage("plan", recovery.head(text))
        return _Asked(stack.push(said, planning.wrong_message(follow_up.problem)), whole=True)

    async def _base(self, state: RunState, view: TurnView, system: str) -> tuple[Stack, int]:
        """The stack as it stands in the history, and the first turn whose end it does not tell."""
        for number in range(view.turn - 1, 0, -1):
            earlier = state.calls.get(plan_call_id(number))
            if earlier is None or earlier.prompt is None:
                continue
            stack = read_stack(await self._texts.get(earlier.prompt.sha256)).without_draft()
            if earlier.raw is None or _failed_last(earlier, earlier.attempt):
                return stack.push(planning.no_answer_message()), number
            answer = await self._texts.get(earlier.raw.sha256)
            return stack.push(StackMessage("plan", answer)), number
        if state.stack is not None:
            stack = read_stack(await self._texts.get(state.stack.sha256), open_end=True)
        else:
            stack = Stack.begin(system)
        return stack.push(*await self._unknown(stack, state), planning.goal_message(self._goal)), 1

    async def _unknown(self, stack: Stack, state: RunState) -> list[StackMessage]:
        """The session's files that the stack does not speak of."""
        known = {f.key: f.line for message in stack.messages for f in message.facts}
        unknown: list[ArtifactRef] = []
        for path, ref in sorted(state.inherited.items()):
            if path == CONTRACT_FILE:
                continue
            text = await self._texts.get(ref.sha256)
            artifact = ArtifactRef.of(path, ref, text)
            if artifact.digits not in known.get(artifact.fact.key, ""):
                unknown.append(artifact)
        return [planning.artifacts_message(unknown)] if unknown else []

    async def _what_happened(
        self, turn: TurnState, state: RunState, view: TurnView
    ) -> list[StackMessage]:
        """The messages of a turn that is over: decisions, the contract, results, questions."""
        messages: list[StackMessage] = []
        if turn.planner == "rules":
            messages.append(planning.rules_planned_message(turn.number, _why_rules(turn)))
        elif turn.repairs:
            messages.append(planning.repaired_message(turn.number, turn.repairs))
        results: list[planning.Result] = []
        questions: list[StackMessage] = []
        earlier = {call.id: call for call in view.earlier}
        for call in state.calls.values():
            if call.kind != "worker" or call.turn != turn.number:
                continue
            result = await self.result(call, earlier[call.id])
            if call.planned.output_file == CONTRACT_FILE and result.artifact is not None:
                messages.append(planning.contract_message(result.artifact))
                continue
            results.append(result)
            questions += planning.question_messages(result.call, result.answer)
        messages.append(planning.results_message(turn.number, results, state.run_id))
        return messages + questions

    async def result(self, call: CallState, seen: EarlierCall) -> planning.Result:
        """A call that ended, as the orchestrator is told of it."""
        if call.status is not CallStatus.DONE or call.text is None:
            return planning.Result(seen)
        text = await self._texts.get(call.text.sha256)
        path = call.planned.output_file
        if path is None:
            return planning.Result(seen, answer=text.strip())
        return planning.Result(seen, ArtifactRef.of(path, call.text, text, call.id))

    # Syntheses and worker calls.

    def _synthesis(self, call: CallState, state: RunState) -> Brief:
        alias = self._config.aliases[call.planned.alias]
        view = view_turn(self._config, state, self._goal)
        final = call.id == synthesis_call_id(call.turn)
        messages, prompt = synthesis_messages(view, "final" if final else "partial")
        sampling = sampling_of(alias.sampling, attempt=call.attempt)
        return Brief(
            messages=messages,
            prompt_name=prompt.name,
            prompt_version=prompt.version,
            sampling=sampling,
        )

    async def _worker(self, call: CallState, state: RunState) -> Brief:
        shared = state.text_of(CONTRACT_FILE)
        return brief_worker(
            call.planned,
            config=self._config,
            goal=self._goal,
            sources=await self.sources(call, state),
            contract_text=None if shared is None else await self._texts.get(shared.sha256),
            attempt=call.attempt,
        )

    async def sources(self, call: CallState, state: RunState) -> list[Source | ArtifactRef]:
        """What the call depends on: answers in full, files by reference; and in full the files that
        it needs."""
        planned, sources = call.planned, list[Source | ArtifactRef]()
        for name in planned.depends_on:
            before = state.calls[name]
            path = before.planned.output_file
            if before.text is None or path == CONTRACT_FILE or path in planned.needs:
                continue
            text = await self._texts.get(before.text.sha256)
            if path is None:
                sources.append(Source(name, text))
            else:
                sources.append(ArtifactRef.of(path, before.text, text, name))
        for path in dict.fromkeys(planned.needs):
            ref = state.text_of(path)
            if ref is not None:
                sources.append(Source(path, await self._texts.get(ref.sha256)))
        return sources


def _within(
    stack: Stack, turn: StackMessage, window: int, system: str, number: int
) -> tuple[Stack, StackCompacted | None]:
    """The stack with the turn's message on top, compacted first where that has to be."""
    need = stack.tokens + estimate_tokens(turn.text) + MESSAGE_TOKENS
    reason = ""
    if stack.system != system:
        reason = "the system prompt has changed"
    elif need > window:
        reason = f"the next prompt has about {need} tokens and the window {window}"
    if not reason:
        return stack.push(turn).checkpoint(), None
    stack, compaction = compact(
        stack,
        reason=reason,
        window_tokens=window,
        summarise=planning.summarise,
        system=system,
    )
    event = StackCompacted(turn=number, **asdict(compaction))
    return stack.push(turn).checkpoint(), event


def _failed_last(call: CallState, attempt: int) -> bool:
    return call.last_failure is not None and call.last_failure.attempt == attempt


def _why_rules(turn: TurnState) -> str:
    codes = ", ".join(sorted({problem.code for problem in turn.problems}))
    if codes:
        return f"none of your plans was valid ({codes})"
    return "you gave no plan"
