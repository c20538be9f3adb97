"""One attempt: its text, and the class of each way of failing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.orchestrator.attempt import terminal_event
from actors.replica.attempt import Progress, carry_out
from familiar.call import CallOrder, CallOutcome, Deadlines, DocumentSpec
from familiar.engine import Delta, FinishReason, Message
from familiar.errors import FailureClass
from tests.actors.one_attempt import carry, order


async def outcome_of(wanted: CallOrder, *deltas: Delta, pause_s: float = 0.0) -> CallOutcome:
    """The outcome of an attempt whose engine sends just these deltas."""

    async def stream() -> AsyncIterator[Delta]:
        for delta in deltas:
            await asyncio.sleep(pause_s)
            yield delta

    return await carry_out(wanted, stream())


# -- success -------------------------------------------------------------------------------------


async def test_text_is_what_the_model_wrote_with_usage_and_timing() -> None:
    outcome = await carry({"answer": "Hello there, world."}, order())
    assert outcome.failure is None
    assert outcome.raw == outcome.text == "Hello there, world."
    assert outcome.finish_reason == "stop"
    assert outcome.usage.output_tokens == 5
    assert outcome.usage.prompt_tokens > 0
    assert outcome.timing.first_token_at is not None
    assert outcome.timing.started_at <= outcome.timing.first_token_at <= outcome.timing.ended_at


async def test_a_text_may_be_cut_by_length_and_says_so() -> None:
    outcome = await carry({"answer": {"tokens": 50}}, order(max_tokens=10))
    assert outcome.failure is None
    assert (outcome.finish_reason, outcome.usage.output_tokens) == ("length", 10)


@pytest.mark.parametrize("tokens", [1, 20, 30_000])
async def test_a_raw_file_is_the_text_as_it_was_written(tokens: int) -> None:
    outcome = await carry({"answer": {"tokens": tokens}}, order(file=True))
    assert outcome.failure is None, outcome.failure
    assert outcome.text == outcome.raw


async def test_a_fence_is_removed_from_the_file_and_kept_in_the_raw_text() -> None:
    raw = "```markdown\n# Title\n\nWords.\n```\n"
    wanted = order(file=True, document=DocumentSpec("document"))
    outcome = await carry({"answer": raw}, replace(wanted, output_file="notes.txt"))
    assert outcome.failure is None
    assert outcome.raw == raw
    assert outcome.text.strip() == "# Title\n\nWords."
    assert outcome.repairs


@pytest.mark.parametrize(
    ("slot", "repaired"), [("<h1>Hours</h1>", False), ("<h1>Hours</h1><p>Nine", True)]
)
async def test_a_page_is_spliced_between_the_shared_parts(slot: str, repaired: bool) -> None:
    spec = DocumentSpec("html-page", prefix="<main>\n", suffix="\n</main>\n")
    outcome = await carry({"answer": slot}, order(file=True, document=spec))
    assert outcome.failure is None, outcome.failure
    assert outcome.raw == slot
    assert bool(outcome.repairs) == repaired
    closing = "</p>" if repaired else ""
    assert outcome.text == f"<main>\n{slot}{closing}\n</main>\n"


async def test_a_slot_cut_by_length_is_repaired_when_a_grammar_held_it() -> None:
    spec = DocumentSpec("html-page", prefix="<main>\n", suffix="\n</main>\n")
    script = {"answer": "<section><h1>Hours</h1><p>Nine to five and more</p></section>"}
    wanted = order(file=True, document=spec, grammar=True, max_tokens=14)
    outcome = await carry(script, wanted)
    assert (outcome.failure, outcome.finish_reason) == (None, "length")
    assert outcome.text.endswith("</p></section>\n</main>\n")


# -- reasoning -----------------------------------------------------------------------------------

END = Delta(finish_reason="stop")
MARKED = ("<think>\nFirst I th", "ink.\n</think>\n\nThe answer.")


async def test_reasoning_deltas_are_kept_apart_from_the_answer() -> None:
    thought = [Delta(reasoning="First ", tokens=1), Delta(reasoning="I think.", tokens=1)]
    outcome = await outcome_of(order(file=True), *thought, Delta("The answer.", 1), END)
    assert outcome.failure is None
    assert (outcome.raw, outcome.text) == ("The answer.", "The answer.")
    assert outcome.reasoning == "First I think."
    assert outcome.usage.output_tokens == 3
    body, texts = terminal_event(outcome, "worker")
    assert body.reasoning is not None
    assert texts[body.reasoning.sha256] == "First I think."


@pytest.mark.parametrize("file", [True, False])
async def test_reasoning_that_is_marked_in_the_text_is_split_off(file: bool) -> None:
    wanted = order(file=file, document=DocumentSpec("document"))
    outcome = await outcome_of(wanted, *(Delta(piece, 1) for piece in MARKED), END)
    assert outcome.failure is None
    assert outcome.raw == "".join(MARKED)
    assert outcome.text.strip() == "The answer."
    assert outcome.reasoning == "First I think."


@pytest.mark.parametrize(
    ("raw", "reasoning"),
    [
        ("Only the closing mark.</think>Yes.", "Only the closing mark."),
        ("[THINK]Once.[/THINK]Yes.", "Once."),
        ("<think></think>\n\nYes.", ""),
        ("Write `<think>` in front.", ""),
        ("Yes.", ""),
    ],
)
async def test_a_plan_is_judged_whole_and_its_reasoning_recorded(raw: str, reasoning: str) -> None:
    wanted = replace(order(), kind="plan")
    outcome = await outcome_of(wanted, Delta(raw, 1), END)
    assert (outcome.raw, outcome.text, outcome.reasoning) == (raw, raw, reasoning)


async def test_reasoning_feeds_the_deadlines() -> None:
    limits = Deadlines(first_token_s=1, stall_s=1, total_s=60)
    thought = [Delta(reasoning="hm ") for _ in range(20)]
    outcome = await outcome_of(
        order(deadlines=limits), *thought, Delta("Yes.", 1), END, pause_s=0.05
    )
    assert outcome.failure is None
    assert outcome.text == "Yes."


@pytest.mark.parametrize(
    ("deltas", "finish", "failure"),
    [
        ([Delta(reasoning="Hm.", tokens=9)], "length", FailureClass.CALL_TRUNCATED),
        ([Delta(reasoning="Hm.", tokens=9)], "stop", FailureClass.OUTPUT_INVALID),
        ([Delta("<think>Hm.", 9)], "length", FailureClass.CALL_TRUNCATED),
        ([Delta("<think>Hm.", 9)], "stop", FailureClass.OUTPUT_INVALID),
    ],
)
async def test_reasoning_alone_is_no_answer_and_is_kept(
    deltas: list[Delta], finish: FinishReason, failure: FailureClass
) -> None:
    outcome = await outcome_of(order(), *deltas, Delta(finish_reason=finish))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == failure
    assert outcome.text == ""
    assert outcome.reasoning == "Hm."


@pytest.mark.parametrize("text", ["", " \n"])
async def test_a_text_without_a_word_is_no_answer(text: str) -> None:
    outcome = await outcome_of(order(), Delta(text), END)
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.OUTPUT_INVALID
    assert (await outcome_of(replace(order(), kind="plan"), Delta(text), END)).failure is None


async def test_reasoning_counts_against_the_byte_limit() -> None:
    outcome = await outcome_of(order(max_bytes=100), Delta(reasoning="x" * 101, tokens=1), END)
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CALL_OVERSIZED


# -- continuation ----------------------------------------------------------------------------------


def going_on(wanted: CallOrder, written: str) -> CallOrder:
    messages = (*wanted.request.messages, Message("assistant", written))
    return replace(wanted, request=replace(wanted.request, messages=messages, continue_final=True))


async def test_a_continuation_makes_one_whole_of_what_both_attempts_wrote() -> None:
    spec = DocumentSpec("html-page", prefix="<main>\n", suffix="\n</main>\n")
    script = {"answer": "<section><h1>Hours</h1><p>Nine to five and more</p></section>"}
    first = await carry(script, order(file=True, document=spec, max_tokens=12))
    assert first.failure is not None
    assert first.failure.failure_class == FailureClass.CALL_TRUNCATED
    wanted = going_on(order(file=True, document=spec), first.raw)
    second = await carry(script, wanted)
    assert second.failure is None
    assert second.raw == script["answer"]
    assert second.text == f"<main>\n{second.raw}\n</main>\n"
    whole = await carry(script, order())
    assert first.usage.output_tokens + second.usage.output_tokens == whole.usage.output_tokens


async def test_a_continuation_that_fails_keeps_what_both_wrote() -> None:
    script = {
        "answer": "One two three four five six.",
        "rules": [{"faults": [{"kind": "cut", "after_tokens": 2}]}],
    }
    outcome = await carry(script, going_on(order(file=True), "One two three"))
    assert outcome.failure is not None
    assert outcome.raw == "One two three four five"
    assert outcome.usage.output_tokens == 2


async def test_the_byte_limit_holds_for_the_whole() -> None:
    wanted = going_on(order(file=True, max_bytes=100), "x" * 90)
    outcome = await carry({"answer": "y" * 40}, wanted)
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CALL_OVERSIZED
    assert outcome.failure.evidence["max_bytes"] == 100


async def test_text_without_a_place_in_utf8_is_written_all_the_same() -> None:
    async def deltas() -> AsyncIterator[Delta]:
        yield Delta("caf\u00e9 \ud800 日本", 3, "stop")

    outcome = await carry_out(order(file=True), deltas())
    assert outcome.failure is None
    assert outcome.text.encode("utf-8", "replace") == "café ? 日本".encode()


# -- how a stream ends ---------------------------------------------------------------------------


def stream(*deltas: Delta) -> AsyncIterator[Delta]:
    async def play() -> AsyncIterator[Delta]:
        for delta in deltas:
            yield delta

    return play()


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (Delta(" end", 1), FailureClass.BACKEND_UNREACHABLE),
        (Delta("", 0, "error"), FailureClass.BACKEND_UNREACHABLE),
        (Delta("", 0, "abort"), FailureClass.CANCELLED),
        (Delta("", 0, "length"), FailureClass.CALL_TRUNCATED),
    ],
)
async def test_a_file_needs_a_real_end_and_its_partial_is_kept(
    last: Delta, expected: FailureClass
) -> None:
    spec = DocumentSpec("html-page", prefix="<header>", suffix="</footer>")
    wanted = order(file=True, document=spec)
    outcome = await carry_out(wanted, stream(Delta("<p>some", 1), last))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == expected
    assert outcome.raw == "<p>some" + last.text
    assert outcome.text == ""


async def test_what_cannot_become_the_document_is_invalid_and_kept() -> None:
    outcome = await carry_out(order(file=True), stream(Delta("  \n ", 1, "stop")))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.OUTPUT_INVALID
    assert outcome.raw == "  \n "


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "refuse"}, FailureClass.BACKEND_UNREACHABLE),
        ({"kind": "status", "status": 401}, FailureClass.BACKEND_REFUSED),
        ({"kind": "cut", "after_tokens": 4}, FailureClass.BACKEND_UNREACHABLE),
        ({"kind": "die", "after_tokens": 4}, FailureClass.BACKEND_UNREACHABLE),
    ],
)
async def test_an_engines_error_keeps_its_class_and_evidence(
    fault: dict[str, object], expected: FailureClass
) -> None:
    outcome = await carry({"rules": [{"faults": [fault]}]}, order(file=True))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == expected
    assert outcome.failure.evidence["replica"] == "scripted"
    if "after_tokens" in fault:
        assert outcome.usage.output_tokens == 4
        assert outcome.raw != ""
    else:
        assert outcome.raw == ""


async def test_a_bug_in_an_engine_is_internal_and_not_an_exception() -> None:
    async def broken() -> AsyncIterator[Delta]:
        yield Delta("a", 1)
        raise ZeroDivisionError("oops")

    outcome = await carry_out(order(), broken())
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.INTERNAL
    assert "oops" in outcome.failure.message
    assert outcome.raw == "a"


async def test_more_bytes_than_allowed_stop_the_call() -> None:
    outcome = await carry({"answer": {"tokens": 5000}}, order(file=True, max_bytes=1000))
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CALL_OVERSIZED
    assert outcome.failure.evidence["max_bytes"] == 1000
    assert 980 < len(outcome.raw.encode()) <= 1000


async def test_cancelling_gives_an_outcome_and_keeps_the_partial() -> None:
    script = {"rates": {"tokens_per_s": 200}, "answer": {"tokens": 10_000}}
    progress = Progress()
    task = asyncio.create_task(carry(script, order(file=True), None, progress))
    while progress.tokens < 5:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    outcome = await task
    assert outcome.failure is not None
    assert outcome.failure.failure_class == FailureClass.CANCELLED
    assert outcome.usage.output_tokens >= 5
    assert outcome.raw
