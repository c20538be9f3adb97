"""Access to the API: by bearer key, or without keys from this machine only.

Keys are known only as SHA-256 digests. A key that is sent is hashed and compared with every digest
in constant time, so neither its length nor the number of right characters shows in the time that an
answer takes. Without keys (`auth: none`, which the configuration allows on a loopback address only)
the Host header must name a loopback address: otherwise a web page could reach the API through a
name of its own that resolves to 127.0.0.1.

A request that changes something and comes from a web page of another origin is rejected, with a key
or without, with a body or without. The open paths answer anybody, so what they say in detail is
said only to a request that would pass the gate (`is_known`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from familiar.errors import ConfigError
from serve_app.problems import problem, respond

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/docs.css"})
MIN_KEY_CHARS = 16
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_KNOWN = "familiar.known"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HEX = re.compile(r"[0-9a-f]{64}")


def load_keys(entries: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The digests (hex) of the keys that `api.keys` names.

    Raises `ConfigError`, which never repeats an entry: it might be a key that was pasted in.
    """
    digests: dict[str, None] = {}
    for index, entry in enumerate(entries):
        for digest in _digests(entry, f"api.keys.{index}", environ):
            digests[digest] = None
    return tuple(digests)


def _digests(entry: str, where: str, environ: Mapping[str, str]) -> list[str]:
    kind, _, value = entry.partition(":")
    if kind == "sha256":
        if not _HEX.fullmatch(value.lower()):
            raise ConfigError(
                f"{where} is not a SHA-256 in 64 hex digits.",
                where=where,
                remedy="Make one: printf %s KEY | sha256sum",
            )
        return [value.lower()]
    if kind == "env":
        keys = [environ.get(value, "").strip()]
        source = f"the environment variable {value}"
    elif kind == "file":
        source = f"the file {value}"
        try:
            lines = Path(value).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: {source} cannot be read: {error}.", where=where) from None
        keys = [line.strip() for line in lines if not line.lstrip().startswith("#")]
    else:
        raise ConfigError(
            f"{where} is not env:NAME, file:PATH or sha256:HEX.",
            where=where,
            remedy="Keep keys out of the configuration; name the variable or file with the key.",
        )
    if any(0 < len(key) < MIN_KEY_CHARS for key in keys):
        raise ConfigError(
            f"{where}: a key in {source} has fewer than {MIN_KEY_CHARS} characters.",
            where=where,
            remedy="Make a random one: openssl rand -hex 32",
        )
    digests = [_digest(key) for key in keys if key]
    if not digests:
        raise ConfigError(f"{where}: {source} has no key.", where=where, remedy="Add a key.")
    return digests


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class Gate:
    """ASGI middleware that lets nothing through without a key. `digests=None` is `auth: none`."""

    def __init__(self, app: ASGIApp, *, digests: tuple[str, ...] | None) -> None:
        self._app = app
        self._digests = digests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._digests is None:
            rejection = None if _names_loopback(headers.get("host", "")) else _elsewhere(scope)
        else:
            rejection = self._check(scope, headers.get("authorization", ""))
        if scope["path"] in OPEN_PATHS:
            scope[_KNOWN] = rejection is None
            await self._app(scope, receive, send)
            return
        if rejection is None and scope["method"] not in _SAFE_METHODS:
            rejection = _cross_origin(scope, headers)
        await (rejection or self._app)(scope, receive, send)

    def _check(self, scope: Scope, authorization: str) -> ASGIApp | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return _unauthorized(scope, "A bearer key is needed and none was sent.", "")
        given = _digest(token.strip())
        # Every digest is compared, so the time does not tell which one matched.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests or ()]
        if any(matches):
            return None
        return _unauthorized(
            scope, "The bearer key is not one of this deployment's.", ', error="invalid_token"'
        )


def is_known(scope: Scope) -> bool:
    """Whether a request for an open path would have passed the gate."""
    return bool(scope.get(_KNOWN))


def _cross_origin(scope: Scope, headers: Headers) -> ASGIApp | None:
    """Browsers name the origin of a page with every request that changes something; programs name
    none."""
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "same-origin")
    same = origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    if same and site in ("same-origin", "none"):
        return None
    found = problem(
        403,
        "Web pages of other origins may not send this request.",
        instance=scope["path"],
        field="header.origin",
        remedy="Send the request from a program, or from a page of this service.",
    )
    return respond(found)


def _unauthorized(scope: Scope, detail: str, more: str) -> ASGIApp:
    found = problem(
        401,
        detail,
        instance=scope["path"],
        field="header.authorization",
        remedy="Send Authorization: Bearer KEY with a key of api.keys.",
    )
    return respond(found, {"WWW-Authenticate": f'Bearer realm="familiar"{more}'})


def _names_loopback(host: str) -> bool:
    name = host.lower()
    if name.rpartition(":")[2].isdigit():
        name = name.rpartition(":")[0]
    return name in LOOPBACK


def _elsewhere(scope: Scope) -> ASGIApp:
    found = problem(
        421,
        "Without keys (auth: none) only requests to a loopback address are answered.",
        instance=scope["path"],
        field="header.host",
        remedy="Ask for http://127.0.0.1 or localhost, or configure auth: bearer.",
    )
    return respond(found)
