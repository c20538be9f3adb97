"""The server said no to this request: the model's name, the key, the size of the prompt, or else.

Also the answer that reached its own token limit: asked for, and not enough.
"""

from __future__ import annotations

from familiar.errors import FailureClass
from familiar.explain.cause import Cause
from familiar.explain.explanation import Finding
from familiar.explain.rules.finding import LIKELY, SURE, found, probed, saw
from familiar.explain.story import Story, Try

_UNKNOWN = ("does not exist", "not found", "no such", "unknown", "does not serve", "not loaded")
_KEY = frozenset({401, 403})


def model_unknown(story: Story, tried: Try) -> Finding | None:
    """The server's words are about a model that it has not got."""
    if not _refused(tried):
        return None
    words = _words(tried)
    if "model" not in words or not any(mark in words for mark in _UNKNOWN):
        return None
    status = tried.number("status")
    named = tried.text("model")
    serves = tried.text("serves")
    says = f"The pool names the model {named}" if named else "The pool names a model"
    says += f"; the server has {serves}." if serves else " that the server says it has not got."
    return found(
        Cause.MODEL_UNKNOWN,
        SURE if named or status == 404 else LIKELY,
        story,
        tried,
        saw(says, tried, status=None if status is None else int(status)),
        *probed(tried),
        against=(Cause.BACKEND_UNREACHABLE, Cause.NODE_LOST, Cause.QUEUE_TIMEOUT),
        change=(f"Set pools.{tried.pool or 'POOL'}.model to {serves or 'a name it serves'}.",),
    )


def key_refused(story: Story, tried: Try) -> Finding | None:
    """Status 401 or 403."""
    status = tried.number("status")
    if not _refused(tried) or status is None or int(status) not in _KEY:
        return None
    return found(
        Cause.KEY_REFUSED,
        SURE,
        story,
        tried,
        saw(f"The server answered {status:.0f}.", tried, status=int(status)),
        against=(Cause.BACKEND_UNREACHABLE, Cause.QUEUE_TIMEOUT),
    )


def refused(story: Story, tried: Try) -> Finding | None:
    """Any other considered no."""
    if not _refused(tried):
        return None
    status = tried.number("status")
    said = f"answered {status:.0f} to" if status is not None else "refused"
    return found(
        Cause.BACKEND_REFUSED,
        LIKELY,
        story,
        tried,
        saw(f"The server {said} the request.", tried),
        *probed(tried),
        against=(Cause.BACKEND_UNREACHABLE, Cause.NODE_LOST, Cause.QUEUE_TIMEOUT),
    )


def context_overflow(story: Story, tried: Try) -> Finding | None:
    """The prompt's tokens against the context length."""
    if not _is(tried, FailureClass.CONTEXT_OVERFLOW):
        return None
    prompt, length = tried.number("prompt_tokens"), tried.number("context_length")
    if prompt is not None and length is not None:
        says = f"The prompt has {prompt:.0f} tokens or more; the context holds {length:.0f}."
    else:
        says = "The server says that the prompt does not fit."
    size = 0 if tried.dispatched is None else tried.dispatched.prompt.size
    return found(
        Cause.CONTEXT_OVERFLOW,
        SURE if prompt is not None else LIKELY,
        story,
        tried,
        saw(says, tried, prompt_tokens=prompt, context_length=length, prompt_bytes=size or None),
        *probed(tried),
        against=(Cause.BACKEND_UNREACHABLE, Cause.CALL_OVERSIZED, Cause.QUEUE_TIMEOUT),
    )


def truncated(story: Story, tried: Try) -> Finding | None:
    """The answer was cut at its token limit, long before its deadline."""
    if not _is(tried, FailureClass.CALL_TRUNCATED):
        return None
    most = tried.number("max_tokens")
    return found(
        Cause.CALL_TRUNCATED,
        SURE if most is not None and tried.tokens >= 0.95 * most else LIKELY,
        story,
        tried,
        saw(
            f"It was cut at {tried.tokens} tokens"
            + ("." if most is None else f"; {most:.0f} are its limit."),
            tried,
            tokens=tried.tokens,
            max_tokens=most,
            seconds=round(tried.seconds, 2),
        ),
        against=(
            Cause.CALL_OVERSIZED,
            Cause.BACKEND_UNREACHABLE,
            Cause.BACKEND_SLOW,
            Cause.QUEUE_TIMEOUT,
        ),
        change=(
            f"Raise aliases.{tried.alias or 'ALIAS'}.sampling.max_tokens"
            + ("" if most is None else f" above {most:.0f}")
            + ", or ask for less in one file.",
        ),
    )


def _refused(tried: Try) -> bool:
    """The request was refused, or the pool never came up because its server refused it."""
    return (
        _is(tried, FailureClass.BACKEND_REFUSED)
        or tried.text("start_class") == FailureClass.BACKEND_REFUSED.value
    )


def _is(tried: Try, failure_class: FailureClass) -> bool:
    return tried.failure is not None and tried.failure.failure_class is failure_class


def _words(tried: Try) -> str:
    message = "" if tried.failure is None else tried.failure.message
    return f"{message} {tried.text('reason')}".lower()
