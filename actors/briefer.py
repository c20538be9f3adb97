"""Gather what a brief needs from the history, and have it built.

Planning prompts are a stack: the prompt before, the model's answer, one new message. The recorded
prompt of the last try is taken as it is, so the new one starts with exactly its bytes.
"""

from __future__ import annotations

from dataclasses import replace

from actors.texts import Texts
from familiar.brief import Brief, read_messages, sampling_of
from familiar.config.schema import Config
from familiar.engine import Message, OutputGrammar
from familiar.goal import Goal
from familiar.plan.schema import plan_schema
from familiar.plan.view import CONTRACT_FILE, TurnView, view_turn
from familiar.prompts import planning, recovery
from familiar.prompts.prompt import load_prompt
from familiar.prompts.synthesis import synthesis_messages
from familiar.prompts.worker import Source, brief_worker
from familiar.run.machine import plan_call_id, synthesis_call_id
from familiar.run.state import CallState, RunState


class Briefer:
    """Briefs of one run."""

    def __init__(self, config: Config, goal: Goal, texts: Texts) -> None:
        self._config = config
        self._goal = goal
        self._texts = texts

    async def brief(self, call: CallState, state: RunState) -> Brief:
        """What the model is told for the next try of `call`."""
        if call.kind == "plan":
            brief = await self._plan(call, state)
        elif call.kind == "synthesis":
            brief = self._synthesis(call, state)
        else:
            brief = await self._worker(call, state)
        return await self._followed_up(brief, call)

    async def _followed_up(self, brief: Brief, call: CallState) -> Brief:
        """With what the try before leads to: its text to go on from, or what was wrong with it."""
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

    async def _plan(self, call: CallState, state: RunState) -> Brief:
        config = self._config
        alias = config.aliases[call.planned.alias]
        view = view_turn(config, state, self._goal)
        name = alias.prompt or "orchestrator/v2"
        messages = await self._stack(call, state, view, name)
        window = config.pools[alias.pool].context_length - alias.sampling.max_tokens
        if not planning.fits(messages, window_tokens=window):
            messages = planning.anew(view, name)
        held = alias.wire == "json"
        schema = plan_schema(view, max_prompt_chars=config.orchestrator.max_prompt_chars)
        return Brief(
            messages=messages,
            prompt_name=name,
            prompt_version=load_prompt(name).version,
            sampling=sampling_of(alias.sampling, attempt=call.attempt),
            grammar=OutputGrammar("json", planning.schema_json(schema)) if held else None,
            grammar_name=f"plan-turn-{view.turn}" if held else None,
        )

    async def _stack(
        self, call: CallState, state: RunState, view: TurnView, name: str
    ) -> tuple[Message, ...]:
        if call.prompt is not None:
            before = read_messages(await self._texts.get(call.prompt.sha256))
            if call.raw is None or (
                call.last_failure is not None and (call.last_failure.attempt == call.attempt - 1)
            ):
                return before
            problems = state.turn.problems
            answer = await self._texts.get(call.raw.sha256)
            return (
                *before,
                Message("assistant", answer),
                planning.rejected_message(view, problems),
            )
        earlier = state.calls.get(plan_call_id(view.turn - 1))
        if earlier is not None and earlier.prompt is not None:
            before = read_messages(await self._texts.get(earlier.prompt.sha256))
            if earlier.raw is not None:
                answer = await self._texts.get(earlier.raw.sha256)
                before = (*before, Message("assistant", answer))
            return (*before, planning.results_message(view))
        if view.turn > 1:
            return planning.anew(view, name)
        if state.stack is not None:
            stack = read_messages(await self._texts.get(state.stack.sha256))
            return (*stack, planning.goal_message(view))
        return planning.first_messages(view, name)

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
        config = self._config
        sources: list[Source] = []
        for name in call.planned.depends_on:
            before = state.calls[name]
            if before.text is not None and before.planned.output_file != CONTRACT_FILE:
                text = await self._texts.get(before.text.sha256)
                sources.append(Source(before.planned.output_file or name, text))
        known = {source.name for source in sources}
        for path in call.planned.needs:
            ref = state.text_of(path)
            if ref is not None and path not in known:
                sources.append(Source(path, await self._texts.get(ref.sha256)))
        shared = state.text_of(CONTRACT_FILE)
        return brief_worker(
            call.planned,
            config=config,
            goal=self._goal,
            sources=sources,
            contract_text=None if shared is None else await self._texts.get(shared.sha256),
            attempt=call.attempt,
        )
