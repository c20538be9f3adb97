"""The script of a scripted engine: rules, rates, faults, as a YAML or JSON file or a mapping.

The rules are read in order and the first whose `when` matches answers. A rule sees the same as an
engine: the messages, the request id (`run/call/attempt`), whether there is a grammar, and which
replica this is; it does not see aliases or plans. Unknown keys are rejected, so a fault that is
misspelt can never silently not happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from familiar.config.load import read_yaml
from familiar.engine import GenerateRequest
from familiar.errors import ConfigError

NotNegative = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rates(_Strict):
    """How fast the engine is. 0 stands for no waiting at all.

    `ttft_s` passes before the first token; after it, one token comes every `1 / tokens_per_s`.
    `jitter` is the largest relative change of one interval, drawn from a generator that is seeded
    by the script's seed and the request id.
    """

    ttft_s: NotNegative = 0.0
    tokens_per_s: NotNegative = 0.0
    tokens_per_delta: Annotated[int, Field(ge=1)] = 1
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0


class Fault(_Strict):
    """One thing that goes wrong, at most the first `times` times that its rule matches.

    delay   `seconds` pass before anything else
    refuse  the connection is refused
    status  the engine answers with HTTP `status` and `message`
    stall   after `after_tokens` there is silence, for `seconds` or for ever
    slow    from `after_tokens` on the rate is `tokens_per_s`
    cut     after `after_tokens` the stream breaks
    die     after `after_tokens` the engine is dead for all; with `exit` its process is killed
    """

    kind: Literal["delay", "refuse", "status", "stall", "slow", "cut", "die"]
    after_tokens: Annotated[int, Field(ge=0)] = 0
    seconds: NotNegative | None = None
    tokens_per_s: Annotated[float, Field(gt=0)] = 1.0
    status: Annotated[int, Field(ge=400, le=599)] = 500
    message: str = "scripted error"
    times: Annotated[int, Field(ge=0)] | None = None
    exit: bool = False


class Answer(_Strict):
    """Exactly one of: a literal text (a plain string stands for it), a `$`-template (`run`, `call`,
    `attempt`, `prompt`, `visit`), the content of a file, or filler of so many tokens."""

    text: str | None = None
    template: str | None = None
    file: str | None = None
    tokens: Annotated[int, Field(ge=0, le=10_000_000)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Answer:
        given = [n for n in ("text", "template", "file", "tokens") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"an answer is one of text, template, file, tokens; got {given}")
        return self


AnswerOrText = Annotated[
    Answer, BeforeValidator(lambda given: {"text": given} if isinstance(given, str) else given)
]


class When(_Strict):
    """All that is given must hold. `contains` and `lacks` look at the text of all messages; `run`,
    `call` and `replica` are shell patterns; `attempt` is exact."""

    contains: str | tuple[str, ...] = ()
    lacks: str | tuple[str, ...] = ()
    run: str = "*"
    call: str = "*"
    attempt: int | None = None
    replica: str = "*"
    grammar: bool | Literal["json", "ebnf", "regex"] | None = None

    def matches(self, request: GenerateRequest, parts: RequestParts, replica: str) -> bool:
        if not (fnmatchcase(parts.run, self.run) and fnmatchcase(parts.call, self.call)):
            return False
        if not fnmatchcase(replica, self.replica):
            return False
        if self.attempt is not None and parts.attempt != self.attempt:
            return False
        if self.grammar is not None:
            kind = request.grammar.kind if request.grammar else None
            if isinstance(self.grammar, bool):
                if self.grammar != (kind is not None):
                    return False
            elif kind != self.grammar:
                return False
        if not self.contains and not self.lacks:
            return True
        wanted = (self.contains,) if isinstance(self.contains, str) else self.contains
        banned = (self.lacks,) if isinstance(self.lacks, str) else self.lacks
        text = "\n".join(message.content for message in request.messages)
        return all(w in text for w in wanted) and not any(b and b in text for b in banned)


class RequestParts(_Strict):
    """The request id taken apart; an id of another form is all `call`."""

    run: str = ""
    call: str = ""
    attempt: int = 1

    @classmethod
    def of(cls, request_id: str) -> RequestParts:
        parts = request_id.rsplit("/", 2)
        if len(parts) == 3 and parts[2].isdecimal():
            return cls(run=parts[0], call=parts[1], attempt=int(parts[2]))
        return cls(call=request_id)


class Rule(_Strict):
    """`answers` are taken by attempt (`by: attempt`) or by how often the rule matched before
    (`by: visit`); the last one repeats. `rates` replaces the script's rates for this rule."""

    when: When = When()
    answer: AnswerOrText | None = None
    answers: tuple[AnswerOrText, ...] = ()
    by: Literal["attempt", "visit"] = "attempt"
    rates: Rates | None = None
    faults: tuple[Fault, ...] = ()

    def choose(self, attempt: int, visit: int) -> Answer | None:
        """The answer for this attempt; None leaves it to the script's own `answer`."""
        if not self.answers:
            return self.answer
        nth = attempt if self.by == "attempt" else visit
        return self.answers[min(max(nth, 1), len(self.answers)) - 1]


class Start(_Strict):
    """How the engine comes up: after `seconds`; not in the first `fails` times; or `never`.

    `starts` names a file that gets one line per start, so that `fails` also counts starts in
    processes that are gone. With `hangs` a start that fails does not end at all.
    """

    seconds: NotNegative = 0.0
    fails: Annotated[int, Field(ge=0)] = 0
    never: bool = False
    hangs: bool = False
    starts: str | None = None
    message: str = "scripted start failure"


class PrefixCache(_Strict):
    """The simulated prefix cache: whole blocks only, least recently used ones leave. 0 blocks
    switch it off."""

    block_tokens: Annotated[int, Field(ge=1)] = 16
    blocks: Annotated[int, Field(ge=0)] = 65_536


class Script(_Strict):
    seed: int = 0
    slots: Annotated[int, Field(ge=1)] = 256
    rates: Rates = Rates()
    prefix_cache: PrefixCache = PrefixCache()
    start: Start = Start()
    rules: tuple[Rule, ...] = ()
    answer: AnswerOrText = Answer(tokens=32)
    invocations: str | None = None


def load_script(source: object) -> tuple[Script, Path]:
    """Read a script from a path or a mapping. Returns it with the folder that its `file` answers
    are relative to. Raises `ConfigError`."""
    base = Path.cwd()
    where = "engine_args.script"
    data: object = source
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        base, where = path.parent, str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"The script {path} cannot be read: {error.strerror}.", where=where
            ) from error
        data = read_yaml(text, f"The script {path}")
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"A script is a mapping or a path to one, not {type(data).__name__}.", where=where
        )
    try:
        return Script.model_validate(data), base
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"The script is wrong at {place or 'its top'}: {first['msg']}.", where=where
        ) from error
