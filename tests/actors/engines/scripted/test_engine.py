"""The scripted engine does what its script says, and behaves like an engine where others look."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from actors.engines.scripted import ScriptedEngine
from familiar.engine import Delta, GenerateRequest, Message, OutputGrammar, Sampling
from familiar.errors import EngineError, FailureClass
from tests.actors.engines.scripted.leaping_loop import leap


def ask(
    request_id: str = "run/call/1",
    prompt: str = "Say something.",
    *,
    max_tokens: int = 1000,
    grammar: OutputGrammar | None = None,
    stop: tuple[str, ...] = (),
) -> GenerateRequest:
    sampling = Sampling(max_tokens=max_tokens, stop=stop)
    return GenerateRequest(request_id, (Message("user", prompt),), sampling, grammar)


async def engine(script: object, **kwargs: object) -> ScriptedEngine:
    made = ScriptedEngine(script, **kwargs)  # type: ignore[arg-type]
    await made.start()
    return made


async def collect(made: ScriptedEngine, request: GenerateRequest) -> list[Delta]:
    return [delta async for delta in made.generate(request)]


async def follow(made: ScriptedEngine, seen: list[Delta]) -> None:
    async for delta in made.generate(ask()):
        seen.append(delta)


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


# -- answers -------------------------------------------------------------------------------------


async def test_the_first_rule_that_matches_answers() -> None:
    made = await engine(
        {
            "rules": [
                {"when": {"contains": "weather", "lacks": "tomorrow"}, "answer": "Rain."},
                {"when": {"call": "page-*", "attempt": 2}, "answer": "Second attempt."},
                {"when": {"grammar": "json"}, "answer": "{}"},
                {"when": {"grammar": True}, "answer": "other grammar"},
            ],
            "answer": "Nothing matched.",
        }
    )
    json_grammar, ebnf = OutputGrammar("json", "{}"), OutputGrammar("ebnf", 'root ::= "x"')
    for request, expected in [
        (ask("r/a/1", "the weather today"), "Rain."),
        (ask("r/a/1", "the weather tomorrow"), "Nothing matched."),
        (ask("r/page-3/2"), "Second attempt."),
        (ask("r/page-3/1"), "Nothing matched."),
        (ask("r/a/1", grammar=json_grammar), "{}"),
        (ask("r/a/1", grammar=ebnf), "other grammar"),
        (ask("an id of another form"), "Nothing matched."),
    ]:
        assert text_of(await collect(made, request)) == expected


async def test_answers_by_attempt_by_visit_by_template_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>from a file</p>")
    (tmp_path / "script.yaml").write_text(
        """
        rules:
          - when: {call: attempts}
            answers: [first, second]
          - when: {call: turns}
            by: visit
            answers: [plan, end]
          - when: {call: echo}
            answer: {template: "$run $call $attempt: $prompt"}
          - when: {call: file}
            answer: {file: page.html}
        """
    )
    made = await engine(str(tmp_path / "script.yaml"))

    async def answer(request_id: str, prompt: str = "hello") -> str:
        return text_of(await collect(made, ask(request_id, prompt)))

    assert [await answer(f"r/attempts/{n}") for n in (1, 2, 3)] == ["first", "second", "second"]
    assert [await answer("r/turns/1") for _ in range(3)] == ["plan", "end", "end"]
    assert await answer("r/echo/4", "a $ sign") == "r echo 4: a $ sign"
    assert await answer("r/file/1") == "<p>from a file</p>"


async def test_filler_has_the_number_of_tokens_and_depends_only_on_seed_and_request() -> None:
    script = {"seed": 5, "answer": {"tokens": 50}}
    first = await collect(await engine(script), ask("r/c/1"))
    again = await collect(await engine(script), ask("r/c/1"))
    other = await collect(await engine(script), ask("r/d/1"))
    assert sum(delta.tokens for delta in first) == 50
    assert text_of(first) == text_of(again) != text_of(other)


async def test_max_tokens_and_the_context_cut_with_length_and_stop_strings_with_stop() -> None:
    made = await engine({"answer": {"tokens": 5000}}, context_length=300)
    cut = await collect(made, ask(max_tokens=7))
    assert (sum(d.tokens for d in cut), cut[-1].finish_reason) == (7, "length")
    full = await collect(made, ask("r/c/2", max_tokens=4000))
    assert full[-1].finish_reason == "length"
    assert sum(d.tokens for d in full) + full[-1].prompt_tokens == 300

    made = await engine({"answer": "one two END three"})
    stopped = await collect(made, ask(stop=("END",)))
    assert (text_of(stopped), stopped[-1].finish_reason) == ("one two ", "stop")


def going_on(request: GenerateRequest, written: str) -> GenerateRequest:
    messages = (*request.messages, Message("assistant", written))
    return replace(request, messages=messages, continue_final=True)


@pytest.mark.parametrize("cut", [1, 7, 20, 22])
async def test_an_unfinished_answer_is_gone_on_with_and_nothing_is_repeated(cut: int) -> None:
    text = "One two three, four five."
    made = await engine({"answer": text})
    rest = await collect(made, going_on(ask("r/a/2"), text[:cut]))
    assert text[:cut] + text_of(rest) == text
    whole = await collect(made, going_on(ask("r/a/2"), text))
    assert (text_of(whole), whole[-1].finish_reason) == ("", "stop")
    other = await collect(made, going_on(ask("r/a/2"), "Something else"))
    assert text_of(other) == text


async def test_filler_is_gone_on_with_over_any_number_of_attempts() -> None:
    made = await engine({"answer": {"tokens": 90}})
    whole = text_of(await collect(made, ask("r/a/1")))
    written, tokens = "", 0
    for attempt in (1, 2, 3):
        request = ask(f"r/a/{attempt}", max_tokens=30)
        deltas = await collect(made, going_on(request, written) if written else request)
        written += text_of(deltas)
        tokens += sum(delta.tokens for delta in deltas)
    assert (written, tokens) == (whole, 90)
    assert deltas[-1].finish_reason == "stop"


async def test_an_empty_answer_still_ends() -> None:
    deltas = await collect(await engine({"answer": ""}), ask())
    assert [d.finish_reason for d in deltas] == ["stop"]


@pytest.mark.parametrize("prompt", ["word " * 400, "x" * 10_000_000])
async def test_a_prompt_that_does_not_fit_is_rejected_with_numbers(prompt: str) -> None:
    made = await engine({}, context_length=300)
    with pytest.raises(EngineError) as caught:
        await collect(made, ask(prompt=prompt))
    assert caught.value.failure_class == FailureClass.CONTEXT_OVERFLOW
    assert caught.value.evidence["context_length"] == 300


# -- time ----------------------------------------------------------------------------------------


async def arrivals(script: object) -> list[float]:
    """Seconds from the request to each delta."""
    made = await engine(script)
    began = time.monotonic()
    return [time.monotonic() - began async for _ in made.generate(ask())]


@pytest.mark.parametrize("late_s", [0.0, 0.003, 0.02])
def test_tokens_come_at_absolute_times_so_that_no_stream_drifts(
    late_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wake-ups that come late do not add up, and no token comes before its time."""
    script = {"rates": {"tokens_per_s": 200, "ttft_s": 0.1}, "answer": {"tokens": 41}}
    seen = leap(monkeypatch, arrivals(script), late_s=late_s)
    assert len(seen) == 41
    for nth, at in enumerate(seen):
        assert -1e-9 <= at - (0.1 + nth / 200) <= late_s + 1e-9


async def test_tokens_per_delta_and_jitter_change_the_pieces_and_not_the_text() -> None:
    plain = await collect(await engine({"answer": {"tokens": 10}}), ask())
    rates = {"tokens_per_delta": 4, "jitter": 0.5, "tokens_per_s": 2000}
    joined = await collect(await engine({"answer": {"tokens": 10}, "rates": rates}), ask())
    assert [d.tokens for d in joined] == [4, 4, 2]
    assert text_of(joined) == text_of(plain)


async def test_many_streams_share_the_loop_with_others() -> None:
    """A stream without any waiting leaves room for other coroutines."""
    made = await engine({"answer": {"tokens": 20_000}}, context_length=100_000)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await collect(made, ask(max_tokens=20_000))
    ticking.cancel()
    assert ticks > 500


# -- slots, abort, prefix cache ------------------------------------------------------------------


async def test_more_requests_than_slots_wait_their_turn() -> None:
    made = await engine({"slots": 2, "rates": {"tokens_per_s": 10}, "answer": {"tokens": 5}})
    tasks = [asyncio.create_task(collect(made, ask(f"r/c{n}/1"))) for n in range(5)]
    await asyncio.sleep(0.02)
    assert (made.stats().running, made.stats().waiting) == (2, 3)
    answers = await asyncio.gather(*tasks)
    assert all(a[-1].finish_reason == "stop" for a in answers)
    assert (made.stats().running, made.stats().waiting) == (0, 0)
    assert made.stats().output_tokens == 25


async def test_a_call_that_is_given_up_frees_its_slot_or_its_place() -> None:
    made = await engine(
        {
            "slots": 1,
            "rules": [
                {"when": {"call": "stuck"}, "faults": [{"kind": "stall", "after_tokens": 2}]}
            ],
            "answer": {"tokens": 5},
        }
    )
    stuck = asyncio.create_task(collect(made, ask("r/stuck/1")))
    waiting = asyncio.create_task(collect(made, ask("r/waiting/1")))
    queued = asyncio.create_task(collect(made, ask("r/queued/1")))
    await asyncio.sleep(0.02)
    queued.cancel()
    await asyncio.wait({queued})
    assert not waiting.done()
    stuck.cancel()
    assert (await waiting)[-1].finish_reason == "stop"


async def test_closing_the_iterator_frees_the_slot() -> None:
    made = await engine({"slots": 1, "rates": {"tokens_per_s": 50}})
    stream = made.generate(ask("r/a/1"))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert made.stats().running == 0
    assert (await collect(made, ask("r/b/1", max_tokens=1)))[-1].finish_reason == "length"


async def test_a_repeated_prefix_is_cached_in_whole_blocks() -> None:
    made = await engine({"prefix_cache": {"block_tokens": 4}})
    shared = "the same long beginning of both prompts, word by word " * 3
    first = await collect(made, ask("r/a/1", shared + "one"))
    second = await collect(made, ask("r/b/1", shared + "two"))
    assert first[-1].cached_tokens == 0
    assert second[-1].cached_tokens > 20
    assert second[-1].cached_tokens % 4 == 0
    assert second[-1].cached_tokens < second[-1].prompt_tokens
    assert made.stats().cached_tokens == second[-1].cached_tokens


# -- faults --------------------------------------------------------------------------------------


def faulty(*faults: dict[str, object]) -> dict[str, object]:
    return {"rules": [{"faults": list(faults)}], "answer": {"tokens": 8}}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "refuse"}, FailureClass.BACKEND_UNREACHABLE),
        ({"kind": "status", "status": 404}, FailureClass.BACKEND_REFUSED),
        ({"kind": "status", "status": 429}, FailureClass.BACKEND_UNREACHABLE),
        ({"kind": "status", "status": 503}, FailureClass.BACKEND_UNREACHABLE),
    ],
)
async def test_a_request_can_be_rejected(fault: dict[str, object], expected: FailureClass) -> None:
    with pytest.raises(EngineError) as caught:
        await collect(await engine(faulty(fault)), ask())
    assert caught.value.failure_class == expected


async def test_a_cut_stream_delivers_what_came_before() -> None:
    made = await engine(faulty({"kind": "cut", "after_tokens": 3}))
    seen: list[Delta] = []
    with pytest.raises(EngineError) as caught:
        await follow(made, seen)
    assert sum(d.tokens for d in seen) == 3
    assert caught.value.failure_class == FailureClass.BACKEND_UNREACHABLE
    assert (await made.health()).ok


async def test_a_fault_behind_the_end_of_the_answer_strikes_at_its_end() -> None:
    made = await engine(faulty({"kind": "cut", "after_tokens": 100}))
    seen: list[Delta] = []
    with pytest.raises(EngineError):
        await follow(made, seen)
    assert sum(d.tokens for d in seen) == 8
    assert all(d.finish_reason is None for d in seen)


async def test_a_dead_engine_fails_everything_it_holds_and_says_so() -> None:
    made = await engine(
        {
            "rules": [
                {"when": {"call": "killer"}, "faults": [{"kind": "die", "after_tokens": 1}]},
                {"when": {"call": "stuck"}, "faults": [{"kind": "stall", "after_tokens": 1}]},
            ]
        }
    )
    stuck = asyncio.create_task(collect(made, ask("r/stuck/1")))
    await asyncio.sleep(0.01)
    with pytest.raises(EngineError):
        await collect(made, ask("r/killer/1"))
    with pytest.raises(EngineError, match="died"):
        await stuck
    with pytest.raises(EngineError, match="died"):
        await collect(made, ask("r/later/1"))
    health = await made.health()
    assert not health.ok
    assert "died" in health.reason


async def test_flapping_fails_the_first_times_only() -> None:
    made = await engine(faulty({"kind": "refuse", "times": 2}))
    for _ in range(2):
        with pytest.raises(EngineError):
            await collect(made, ask())
    assert (await collect(made, ask()))[-1].finish_reason == "stop"


def test_slow_and_a_limited_stall_delay_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    script = faulty(
        {"kind": "delay", "seconds": 5},
        {"kind": "stall", "after_tokens": 2, "seconds": 7},
        {"kind": "slow", "after_tokens": 4, "tokens_per_s": 2},
    )
    seen = leap(monkeypatch, arrivals(script))
    assert len(seen) == 8
    assert seen[0] == pytest.approx(5)
    assert seen[2] == pytest.approx(12)
    assert [later - at for at, later in itertools.pairwise(seen[4:])] == pytest.approx([0.5] * 3)


async def test_starts_can_fail_and_the_count_outlives_the_process(tmp_path: Path) -> None:
    script = {"start": {"fails": 2, "starts": str(tmp_path / "starts")}}
    for _ in range(2):
        with pytest.raises(EngineError, match="did not start"):
            await engine(script)  # a new object each time, as in a new process
    assert (await (await engine(script)).health()).ok
    never = ScriptedEngine({"start": {"never": True}})
    for _ in range(3):
        with pytest.raises(EngineError, match="did not start"):
            await never.start()
    assert not (await never.health()).ok


async def test_every_invocation_is_counted_in_a_file_also_when_it_fails(tmp_path: Path) -> None:
    counter = tmp_path / "invocations"
    script = faulty({"kind": "refuse", "times": 1}) | {"invocations": str(counter)}
    one, two = await engine(script, replica_id="a"), await engine(script, replica_id="b")
    with pytest.raises(EngineError):
        await collect(one, ask("r/c/1"))
    await collect(one, ask("r/c/2"))
    with pytest.raises(EngineError):
        await collect(two, ask("r/d/1"))
    lines = [json.loads(line) for line in counter.read_text().splitlines()]
    assert [(x["request_id"], x["replica"]) for x in lines] == [
        ("r/c/1", "a"),
        ("r/c/2", "a"),
        ("r/d/1", "b"),
    ]
