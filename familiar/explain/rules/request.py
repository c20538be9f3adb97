"""The server rejected the request (the model's name, the key, the size of the prompt, or else), or
its answer is cut at the token limit or unusable.

Where an answer is unusable, the class is close to the cause: the judge of the answer saw it whole,
and its words are the evidence. The text itself is only referred to.
"""

from __future__ import annotations

from familiar.errors import FailureClass
from familiar.explain.cause import Cause
from familiar.explain.rules.finding import LIKELY, SURE, Reading
from familiar.explain.story import Attempt, Story
from familiar.failure import FAILURES

_ABOUT_ANSWERS = frozenset({Cause.WIRE_MALFORMED, Cause.OUTPUT_INVALID, Cause.EVALUATOR_REJECTED})
_UNKNOWN = ("does not exist", "not found", "no such", "unknown", "does not serve", "not loaded")
_KEY = frozenset({401, 403})
_NOT_REJECTED = (Cause.BACKEND_UNREACHABLE, Cause.NODE_LOST, Cause.QUEUE_TIMEOUT)


def model_unknown(story: Story, attempt: Attempt) -> Reading | None:
    """The server's words are about a model that it has not got."""
    if not _rejected(attempt):
        return None
    words = _words(attempt)
    if "model" not in words or not any(mark in words for mark in _UNKNOWN):
        return None
    status = attempt.number("status")
    named, serves = attempt.text("model"), attempt.text("serves")
    says = f"The pool names the model {named}" if named else "The pool names a model"
    says += f"; the server has {serves}." if serves else " that the server does not have."
    change = f"Set pools.{attempt.pool or 'POOL'}.model to {serves or 'a name that it lists'}."
    return Reading(
        Cause.MODEL_UNKNOWN,
        SURE if named or status == 404 else LIKELY,
        says,
        {"status": None if status is None else int(status)},
        against=_NOT_REJECTED,
        change=(change,),
    )


def key_rejected(story: Story, attempt: Attempt) -> Reading | None:
    status = attempt.number("status")
    if not _rejected(attempt) or status is None or int(status) not in _KEY:
        return None
    return Reading(
        Cause.KEY_REFUSED,
        SURE,
        f"The server answered {status:.0f}.",
        {"status": int(status)},
        against=(Cause.BACKEND_UNREACHABLE, Cause.QUEUE_TIMEOUT),
    )


def rejected(story: Story, attempt: Attempt) -> Reading | None:
    if not _rejected(attempt):
        return None
    status = attempt.number("status")
    said = f"answered {status:.0f} to" if status is not None else "rejected"
    says = f"The server {said} the request."
    return Reading(Cause.BACKEND_REFUSED, LIKELY, says, against=_NOT_REJECTED)


def context_overflow(story: Story, attempt: Attempt) -> Reading | None:
    """The prompt's tokens against the context length."""
    if not attempt.failed_as(FailureClass.CONTEXT_OVERFLOW):
        return None
    prompt, length = attempt.number("prompt_tokens"), attempt.number("context_length")
    if prompt is not None and length is not None:
        says = f"The prompt has {prompt:.0f} tokens or more; the context holds {length:.0f}."
    else:
        says = "The server says that the prompt does not fit."
    size = 0 if attempt.dispatched is None else attempt.dispatched.prompt.size
    return Reading(
        Cause.CONTEXT_OVERFLOW,
        SURE if prompt is not None else LIKELY,
        says,
        {"prompt_tokens": prompt, "context_length": length, "prompt_bytes": size or None},
        against=(Cause.BACKEND_UNREACHABLE, Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT),
    )


def truncated(story: Story, attempt: Attempt) -> Reading | None:
    """The answer was cut at its token limit, long before its deadline."""
    if not attempt.failed_as(FailureClass.CALL_TRUNCATED):
        return None
    most, tokens = attempt.number("max_tokens"), attempt.tokens
    limit = "" if most is None else f"; {most:.0f} are its limit"
    more = "" if most is None else f" above {most:.0f}"
    setting = f"aliases.{attempt.alias or 'ALIAS'}.sampling.max_tokens"
    return Reading(
        Cause.CALL_TRUNCATED,
        SURE if most is not None and tokens >= 0.95 * most else LIKELY,
        f"It was cut at {tokens} tokens{limit}.",
        {"tokens": tokens, "max_tokens": most, "seconds": round(attempt.seconds, 2)},
        against=(
            Cause.CALL_OVERSIZED,
            Cause.BACKEND_UNREACHABLE,
            Cause.BACKEND_SLOW,
            Cause.QUEUE_TIMEOUT,
        ),
        change=(f"Raise {setting}{more}, or ask for less in one file.",),
    )


def answered_wrongly(story: Story, attempt: Attempt) -> Reading | None:
    """Failure classes that name the defect of the answer."""
    failure = attempt.failure
    if failure is None or attempt.ended is None or not FAILURES[failure.failure_class].direct:
        return None
    cause = Cause(failure.failure_class)
    raw, judged = attempt.ended.raw, cause in _ABOUT_ANSWERS
    against = (Cause.BACKEND_UNREACHABLE, Cause.BACKEND_SLOW, Cause.QUEUE_TIMEOUT)
    says = "" if raw is None else f"The answer has {raw.size} bytes, {attempt.tokens} tokens (text "
    return Reading(
        cause,
        SURE if raw is not None or not judged else LIKELY,
        "" if raw is None else f"{says}{raw.sha256[:12]}).",
        {"tokens": attempt.tokens},
        against=against if judged else (),
    )


def _rejected(attempt: Attempt) -> bool:
    """The request was rejected, or the pool never came up because its server rejects it."""
    refused = FailureClass.BACKEND_REFUSED
    return attempt.failed_as(refused) or attempt.text("start_class") == refused.value


def _words(attempt: Attempt) -> str:
    message = "" if attempt.failure is None else attempt.failure.message
    return f"{message} {attempt.text('reason')}".lower()
