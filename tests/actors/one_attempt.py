"""One attempt of a call over a scripted engine, for the tests of `actors.replica.attempt`."""

from __future__ import annotations

from actors.engines.scripted import ScriptedEngine
from actors.replica.attempt import Progress, Source, carry_out
from familiar.call import CallKey, CallOrder, CallOutcome, Deadlines, DocumentSpec
from familiar.engine import GenerateRequest, Message, OutputGrammar, Sampling

KEY = CallKey("run-1", "page-1", 1)
PATIENT = Deadlines(first_token_s=30, stall_s=30, total_s=60)


def order(
    *,
    file: bool = False,
    document: DocumentSpec | None = None,
    deadlines: Deadlines = PATIENT,
    max_tokens: int = 100_000,
    grammar: bool = False,
    max_bytes: int = 1 << 24,
) -> CallOrder:
    request = GenerateRequest(
        str(KEY),
        (Message("user", "Write."),),
        Sampling(max_tokens=max_tokens),
        OutputGrammar("ebnf", 'root ::= "x"') if grammar else None,
    )
    return CallOrder(
        key=KEY,
        epoch=1,
        alias="grandpa",
        request=request,
        deadlines=deadlines,
        mode="output_file" if file else "text",
        output_file="page.html" if file else None,
        document=document or DocumentSpec(),
        max_bytes=max_bytes,
    )


async def carry(
    script: object,
    wanted: CallOrder,
    source: Source | None = None,
    progress: Progress | None = None,
) -> CallOutcome:
    engine = ScriptedEngine(script, context_length=1_000_000)
    await engine.start()
    outcome = await carry_out(wanted, engine.generate(wanted.request), progress, source)
    assert engine.stats().running == 0, "the engine still holds the request"
    assert outcome.key == KEY
    assert outcome.timing.ended_at >= outcome.timing.started_at
    return outcome
