"""What an answer is made of, in the spellings of many servers."""

from __future__ import annotations

import pytest

from actors.engines.openai.answer import Answer

TEXT = "one two"


def read(*choices: object) -> tuple[Answer, str, str]:
    """The answer, its text and its reasoning."""
    answer = Answer()
    deltas = [answer.read({"choices": [choice]}) for choice in choices]
    said = [delta for delta in deltas if delta is not None]
    return answer, "".join(d.text for d in said), "".join(d.reasoning for d in said)


@pytest.mark.parametrize(
    ("end", "reasons"),
    [
        ("stop", ("stop STOP Stop FINISH_REASON_STOP FinishReason.STOP stop_token stop_str "
         "stop_word stop:eos eos eos_token eos-token eos_found end END_TURN end-turn endTurn "
         "end_of_text done finished complete COMPLETED success normal tool_calls TOOL_USE "
         "function_calls pause_turn </s>")),
        ("length", ("length LENGTH length_limit max_tokens MAX_TOKENS maxTokens max-tokens "
         "max_new_tokens max_output_tokens max_length model_length token_limit limit truncated "
         "incomplete context_length model_context_window_exceeded FinishReason.LENGTH")),
        ("abort", ("abort aborted cancelled error network_error insufficient_system_resource "
         "LOCAL_ERROR timeout time_limit rate_limited MALFORMED_FUNCTION_CALL failed")),
        ("error", ("content_filter CONTENT_FILTER contentFilter SAFETY RECITATION sensitive "
         "guardrail_intervened blocked PROHIBITED_CONTENT ERROR_TOXIC BLOCKLIST")),
        (None, ("null none unknown FINISH_REASON_UNSPECIFIED unfinished not_finished in_progress "
         "continue dunno ... 0")),
    ],
)  # fmt: skip
def test_a_finish_reason_is_read_by_its_words(end: str | None, reasons: str) -> None:
    for reason in reasons.split():
        answer, _, _ = read({"delta": {"content": TEXT}, "finish_reason": reason})
        assert answer.finish == end, reason
        assert bool(answer.filtered) == (end == "error")
        assert (reason in answer.odd_finish) == (end in (None, "abort"))


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"content": TEXT}, "finishReason": "stop"},
        {"delta": {"content": TEXT, "finish_reason": "stop"}},
        {"message": {"content": TEXT}, "finish_reason": "stop"},
        {"text": TEXT, "finish_reason": "stop"},
        {"delta": {"content": [TEXT[:3], {"text": TEXT[3:]}]}, "finish_reason": "stop"},
        {"delta": {"content": {"type": "text", "text": TEXT}}, "finish_reason": "stop"},
        {"delta": {"content": [{"type": "text_delta", "text": TEXT}]}, "finish_reason": "stop"},
        {"delta": {"content": [{"type": "output_text", "text": TEXT}]}, "finish_reason": "stop"},
        {"delta": {"content": [{"type": "text", "text": {"value": TEXT, "annotations": []}}]},
         "finish_reason": "stop"},
        {"delta": {"content": [{"type": "image_url", "image_url": {"url": "no"}},
                               {"type": "text", "text": TEXT}]}, "finish_reason": "stop"},
    ],
)  # fmt: skip
def test_where_the_text_and_the_end_stand(choice: object) -> None:
    answer, text, _ = read(choice)
    assert (text, answer.finish) == (TEXT, "stop")
    alone = Answer().read({"choices": choice})
    assert alone is not None
    assert alone.text == TEXT


def test_what_was_streamed_is_not_read_again() -> None:
    whole = {"role": "assistant", "content": TEXT}
    _, text, _ = read(
        {"delta": {"content": TEXT[:3]}, "message": {"content": TEXT[:3]}},
        {"delta": {"content": TEXT[3:]}, "message": whole},
        {"delta": {}, "message": whole, "finish_reason": "stop"},
    )
    assert text == TEXT


def test_of_several_answers_one_is_read() -> None:
    _, text, _ = read(
        {"index": 0, "delta": {"content": TEXT[:3]}},
        {"index": 1, "delta": {"content": "another"}},
        {"index": 0, "delta": {"content": TEXT[3:]}},
    )
    assert text == TEXT


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm."},
        {"reasoning_text": "Hm."},
        {"thinking": "Hm."},
        {"thinking_content": "Hm."},
        {"thought": "Hm."},
        {"thoughts": ["Hm."]},
        {"reasoning": {"content": "Hm."}},
        {"reasoning": {"text": "Hm."}},
        {"reasoning": {"summary": [{"type": "summary_text", "text": "Hm."}]}},
        {"reasoning_content": [{"type": "text", "text": "Hm."}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]},
        {"provider_specific_fields": {"reasoning_content": "Hm."}},
        {"provider_specific_fields": {"thinking_blocks": [{"type": "think", "think": "Hm."}]}},
        {"content": [{"type": "thinking", "text": "Hm."}]},
        {"content": [{"type": "thinking_delta", "thinking": "Hm."}]},
        {"content": [{"type": "think", "think": "Hm."}]},
        {"content": [{"type": "reasoning", "reasoning": "Hm."}]},
        {"content": [{"type": "reasoning_content", "text": "Hm."}]},
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}]},
        {"reasoning": "Hm.", "reasoning_content": "Hm.",
         "thinking_blocks": [{"type": "thinking", "thinking": "Hm."}]},
    ],
)  # fmt: skip
def test_reasoning_has_many_names_and_is_no_text(delta: dict[str, object]) -> None:
    _, text, reasoning = read({"delta": delta}, {"delta": {"content": TEXT}})
    assert (text, reasoning) == (TEXT, "Hm.")
    _, text, reasoning = read({"message": {"content": TEXT} | delta})
    assert reasoning == "Hm."


@pytest.mark.parametrize(
    "delta",
    [
        {"content": [{"type": "redacted_thinking", "data": "abc"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "abc"}]},
        {"reasoning_effort": "high", "thought_signature": "abc", "reasoning_tokens": 7},
        {"reasoning": None, "thinking": "", "thoughts": [], "thought": True},
    ],
)
def test_what_is_beside_reasoning_is_none(delta: dict[str, object]) -> None:
    _, text, reasoning = read({"delta": delta, "stop_reason": "abc"}, {"delta": {"content": TEXT}})
    assert (text, reasoning) == (TEXT, "")


@pytest.mark.parametrize(
    ("deltas", "name"),
    [
        ([{"tool_calls": [{"function": {"arguments": "{"}}]}], ""),
        ([{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "", "arguments": "{"}}]},
          {"tool_calls": [{"function": {"name": "look_up"}}]}], "look_up"),
        ([{"tool_calls": [{"name": "look_up", "arguments": {}}]}], "look_up"),
        ([{"tool_calls": {"function": {"name": "look_up"}}}], "look_up"),
        ([{"tool_calls": [None, "junk", {"function": None}]}], ""),
        ([{"function_call": {"name": "look_up"}}], "look_up"),
    ],
)  # fmt: skip
def test_a_tool_call_is_noticed_whatever_it_lacks(deltas: list[object], name: str) -> None:
    answer, text, _ = read(*({"delta": delta} for delta in deltas))
    assert (answer.calls_tool, answer.tool, text) == (True, name, "")


@pytest.mark.parametrize("last", [{}, {"delta": {}}, {"delta": None}])
def test_a_whole_message_behind_deltas_says_nothing_new(last: dict[str, object]) -> None:
    """It is the answer where no delta had a text, and where each chunk has its own message."""
    whole = {**last, "message": {"content": TEXT}, "finish_reason": "stop"}
    role = {"delta": {"role": "assistant"}}
    halves = [{"delta": {"content": half}} for half in ("one ", "two")]
    assert read(*halves, whole)[1] == TEXT
    assert read(role, whole)[1] == TEXT
    assert read(*({"message": {"content": half}} for half in ("one ", "two")))[1] == TEXT
