"""The vLLM engine, the real one: SmolLM2 on one CPU core, one engine for the whole module."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import html5lib
import pytest
import pytest_asyncio

from actors.engines.vllm.engine import VllmEngine, _cores_of
from actors.engines.weights import prepare
from familiar.config.schema import ThinkingConfig
from familiar.documents import reasoning_in
from familiar.documents.html.contract import Contract, parse_contract
from familiar.documents.html.grammar import contract_grammar, page_grammar
from familiar.engine import Delta, GenerateRequest, Message, OutputGrammar, Sampling
from familiar.errors import EngineError, FailureClass
from tests.familiar.documents.slots import check_slot

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

CONTEXT = 1024
BUDGET = 8
SYSTEM = Message("system", "You write the text of web sites. " + "Be short and friendly. " * 20)
ENGINE_ARGS = {"kv_cache_memory_bytes": 256 << 20, "max_num_seqs": 4}


TEMPLATE = """
{%- if enable_thinking is defined and messages[0]['role'] == 'system' -%}
<|im_start|>system\nthinking={{ enable_thinking }} tone={{ tone }} {# -#}
effort={{ reasoning_effort }}<|im_end|>\n
{%- endif -%}
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}\n{{ message['content'] }}
{%- if not (continue_final_message and loop.last) %}<|im_end|>\n{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant\n{% if enable_thinking %}<think>{% endif %}
{%- endif -%}
"""
"""The model's own template, with switches for reasoning as Qwen's and gpt-oss's have them."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmEngine]:
    weights = await asyncio.to_thread(prepare)
    folder = tmp_path_factory.mktemp("weights")
    for file in weights.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    core = min(os.sched_getaffinity(0))
    made = VllmEngine(
        str(folder),
        context_length=CONTEXT,
        engine_args=ENGINE_ARGS,
        cores=(core,),
        replica_id="smollm2:0",
        thinking=ThinkingConfig(budget_tokens=BUDGET),
    )
    before = await made.health()
    assert not before.ok
    await made.start()
    yield made
    await made.stop()


def ask(
    request_id: str, prompt: str, *, max_tokens: int = 24, grammar: OutputGrammar | None = None
) -> GenerateRequest:
    sampling = Sampling(temperature=0.6, repetition_penalty=1.1, max_tokens=max_tokens, seed=7)
    return GenerateRequest(request_id, (SYSTEM, Message("user", prompt)), sampling, grammar)


async def read(engine: VllmEngine, request: GenerateRequest) -> list[Delta]:
    return [delta async for delta in engine.generate(request)]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def test_an_answer_is_streamed_and_counted(engine: VllmEngine) -> None:
    before = engine.stats()
    deltas = await read(engine, ask("run/stream/1", "Say something nice about teeth."))
    assert (await engine.health()).ok
    assert len(deltas) > 3
    assert text_of(deltas).strip()
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish_reason in {"stop", "length"}
    assert 0 < sum(delta.tokens for delta in deltas) <= 24
    after = engine.stats()
    assert after.output_tokens - before.output_tokens == sum(delta.tokens for delta in deltas)
    assert after.prompt_tokens - before.prompt_tokens == deltas[-1].prompt_tokens > 50
    assert after.tokens_per_s > 0
    assert (after.running, after.waiting) == (0, 0)


async def test_the_switches_of_a_pool_reach_the_template(engine: VllmEngine) -> None:
    llm = engine._serving()
    usual, engine._thinking = (
        engine._thinking,
        ThinkingConfig(enabled=False, effort="low", template_kwargs={"tone": "dry"}),
    )
    try:
        prompt, _ = await engine._render(llm, ask("run/switch/1", "Hello."))
    finally:
        engine._thinking = usual
    said = llm.get_tokenizer().decode(prompt["prompt_token_ids"])
    assert "thinking=False tone=dry effort=low" in said
    plain, _ = await engine._render(llm, ask("run/switch/2", "Hello."))
    assert "tone=" not in llm.get_tokenizer().decode(plain["prompt_token_ids"])


async def test_reasoning_ends_at_its_budget(engine: VllmEngine) -> None:
    usual, engine._thinking = (
        engine._thinking,
        ThinkingConfig(enabled=True, budget_tokens=BUDGET),
    )
    try:
        text = text_of(await read(engine, ask("run/budget/1", "Tell a story.", max_tokens=40)))
    finally:
        engine._thinking = usual
    thought, mark, answer = text.partition("</think>")
    assert mark
    assert 0 < len(thought.split()) <= BUDGET + 2, "an unbounded one would take all 40 tokens"
    assert answer.strip()
    assert reasoning_in(text) == thought.strip()


async def test_the_same_seed_gives_the_same_answer(engine: VllmEngine) -> None:
    first, second = [
        text_of(await read(engine, ask(f"run/seed/{n}", "Name a colour."))) for n in (1, 2)
    ]
    assert first == second


async def test_an_unfinished_answer_is_gone_on_with(engine: VllmEngine) -> None:
    """Without sampling, the rest is what the model would have written at once, and it costs what is
    new."""
    asked = ask("run/whole/1", "Count from one to twelve in words.", max_tokens=40)
    asked = replace(asked, sampling=Sampling(temperature=0.0, max_tokens=40))
    first = await read(engine, asked)
    whole = text_of(first)
    written = whole[: len(whole) // 2].rsplit(" ", 1)[0]
    messages = (*asked.messages, Message("assistant", written))
    going_on = replace(asked, request_id="run/whole/2", messages=messages, continue_final=True)
    second = await read(engine, going_on)
    assert (written + text_of(second)).startswith(whole[: len(written) + 20])
    assert second[-1].prompt_tokens > first[-1].prompt_tokens


async def test_a_shared_beginning_comes_from_the_prefix_cache(engine: VllmEngine) -> None:
    await read(engine, ask("run/prefix/1", "Name a fruit.", max_tokens=2))
    before = engine.stats().cached_tokens
    deltas = await read(engine, ask("run/prefix/2", "Name an animal.", max_tokens=2))
    assert 64 <= deltas[-1].cached_tokens < deltas[-1].prompt_tokens
    assert engine.stats().cached_tokens - before == deltas[-1].cached_tokens


async def test_norms_are_compiled_and_are_what_the_native_ones_are(engine: VllmEngine) -> None:
    import torch
    from vllm.ir import ops
    from vllm.platforms import current_platform

    from actors.engines.vllm.norm import PROVIDER

    assert engine._llm is not None
    chosen = engine._llm.vllm_config.kernel_config.ir_op_priority
    assert chosen.rms_norm[0] == chosen.fused_add_rms_norm[0] == PROVIDER
    current_platform.import_kernels()
    x, residual, weight = torch.randn(3, 576), torch.randn(3, 576), torch.rand(576)
    made = {
        name: (
            ops.rms_norm.impls[name].impl_fn(x.clone(), weight, 1e-5),
            *ops.fused_add_rms_norm.impls[name].impl_fn(x.clone(), residual.clone(), weight, 1e-5),
        )
        for name in (PROVIDER, "native")
    }
    torch.testing.assert_close(made[PROVIDER], made["native"])


async def test_pages_under_the_grammar_end_and_parse(engine: VllmEngine) -> None:
    """The contract and two pages, made side by side as a run makes them."""
    asked = ask(
        "run/contract/1", "Name the site of a dentist.", max_tokens=200, grammar=contract_grammar()
    )
    deltas = await read(engine, asked)
    assert deltas[-1].finish_reason == "stop"
    contract = parse_contract(text_of(deltas), pages=("services.html", "info.html"))
    needs = {
        "services.html": ("pricing-table",),
        "info.html": ("modal",),
    }
    slots = await asyncio.gather(
        *(
            read(
                engine,
                ask(f"run/{file}/1", f"Write {file}.", max_tokens=600, grammar=page_grammar(need)),
            )
            for file, need in needs.items()
        )
    )
    pages = []
    for (file, need), slot in zip(needs.items(), slots, strict=True):
        assert slot[-1].finish_reason == "stop"
        assert check_slot(text_of(slot), need) == []
        pages.append(_parse(contract, file, text_of(slot)))
    assert pages[0] != pages[1]
    assert "<dialog" in pages[1]
    assert "<table" in pages[0]


def _parse(contract: Contract, file: str, slot: str) -> str:
    splice = contract.page(file)
    page = f"{splice.prefix}{slot}{splice.suffix}"
    html5lib.HTMLParser(strict=True).parse(page)
    return page


async def test_json_is_held_to_its_schema_without_padding(engine: VllmEngine) -> None:
    schema = {
        "type": "object",
        "properties": {
            "continue": {"type": "boolean"},
            "alias": {"type": "string", "enum": ["naughty", "grandpa"]},
            "prompt": {"type": "string", "minLength": 4, "maxLength": 40},
        },
        "required": ["continue", "alias", "prompt"],
        "additionalProperties": False,
    }
    grammar = OutputGrammar("json", json.dumps(schema))
    text = text_of(
        await read(engine, ask("run/json/1", "Plan the work.", max_tokens=120, grammar=grammar))
    )
    answer = json.loads(text)
    assert set(answer) == {"continue", "alias", "prompt"}
    assert answer["alias"] in {"naughty", "grandpa"}
    assert "\n" not in text
    pattern = OutputGrammar("regex", "[0-9]{3}-[0-9]{4}")
    number = text_of(
        await read(
            engine, ask("run/regex/1", "Give a phone number.", max_tokens=20, grammar=pattern)
        )
    )
    assert len(number) == 8
    assert number[3] == "-"


async def test_a_grammar_that_is_none_is_rejected_and_harms_nobody(engine: VllmEngine) -> None:
    for grammar in (OutputGrammar("ebnf", "root ::= ((("), OutputGrammar("json", "{{")):
        with pytest.raises(EngineError) as refused:
            await read(engine, ask("run/bad/1", "Hello.", grammar=grammar))
        assert refused.value.failure_class is FailureClass.BACKEND_REFUSED
        assert "run/bad/1" in str(refused.value)
    assert (await engine.health()).ok
    assert text_of(await read(engine, ask("run/good/1", "Hello.")))


async def test_a_prompt_that_does_not_fit_is_told_with_numbers(engine: VllmEngine) -> None:
    with pytest.raises(EngineError) as refused:
        await read(engine, ask("run/long/1", "tooth " * 3000))
    error = refused.value
    assert error.failure_class is FailureClass.CONTEXT_OVERFLOW
    assert error.evidence["context_length"] == CONTEXT
    assert isinstance(error.evidence["prompt_tokens"], int)
    assert error.evidence["prompt_tokens"] > 3000
    assert str(error.evidence["prompt_tokens"]) in str(error)


async def test_an_answer_ends_where_the_context_ends(engine: VllmEngine) -> None:
    endless = OutputGrammar("ebnf", "root ::= [a-z ]+")
    request = ask("run/full/1", "tooth " * 800, max_tokens=5000, grammar=endless)
    deltas = await read(engine, request)
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].prompt_tokens + sum(delta.tokens for delta in deltas) == CONTEXT


async def test_a_request_that_is_given_up_frees_the_engine(engine: VllmEngine) -> None:
    endless = OutputGrammar("ebnf", "root ::= [a-z ]+")
    stream = engine.generate(ask("run/close/1", "Tell a story.", max_tokens=900, grammar=endless))
    first = await anext(stream)
    assert first.finish_reason is None
    assert engine.stats().running == 1
    await stream.aclose()
    assert (engine.stats().running, engine.stats().waiting) == (0, 0)
    # While the next one runs, the engine core itself counts only that one.
    follower = engine.generate(ask("run/close/2", "Name a colour.", grammar=endless))
    counted = set()
    async for _ in follower:
        counted.add(engine._readings.running)
    assert max(counted) == 1


async def test_a_dead_engine_core_fails_calls_and_health(engine: VllmEngine) -> None:
    """The last test of the module: it kills the engine core."""
    assert engine._llm is not None
    [core] = _cores_of(engine._llm)
    endless = OutputGrammar("ebnf", "root ::= [a-z ]+")
    stream = engine.generate(ask("run/dead/1", "Tell.", max_tokens=900, grammar=endless))
    await anext(stream)
    os.kill(core.pid, 9)
    with pytest.raises(EngineError) as broken:
        async for _ in stream:
            pass
    assert broken.value.failure_class is FailureClass.BACKEND_UNREACHABLE
    health = await engine.health()
    assert not health.ok
    assert "died" in health.reason
    with pytest.raises(EngineError):
        await read(engine, ask("run/dead/2", "Hello."))
    await engine.stop()
    await engine.stop()
    assert not core.is_alive()
    assert "not started" in (await engine.health()).reason
