"""One server: where its routes are, how it is asked, the models that it lists, and what its errors
mean.

Redirects are followed by hand on the same host, because a POST has to stay one, and never to
another host, because the key would go there. A key leaves its `Secret` in one header only; every
text from outside is scrubbed before it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
from pydantic import JsonValue

from actors.engines.openai.answer import count
from actors.engines.openai.overflow import is_overflow, overflow_numbers
from actors.engines.openai.request import OpenAIArgs
from actors.engines.openai.said import Said, clean, read_said
from actors.engines.openai.sse import read_object
from cluster.key_files import find_key
from familiar.config.url import checked_url
from familiar.errors import ConfigError, EngineError, FailureClass
from familiar.failure import class_of_status
from familiar.secret import Secret

PASSING = frozenset({502, 503, 504, *range(509, 600)})
"""Server errors that may pass. Those above 508 are proxies' own: they did not reach the server."""
_NO_CONTENT = frozenset({204, 205})
_NOT_BUSY = frozenset({401, 402, 403})
_CODINGS = frozenset({"identity", "gzip", "deflate"})
MOST_REDIRECTS = 5
_LONGEST_ERROR = 64 << 10
_LENGTHS = ("max_model_len", "context_length", "context_window", "max_context_length",
            "loaded_context_length", "n_ctx", "max_input_tokens")  # fmt: skip
_VERSIONED = re.compile(r"/v\d+\w*(?:/.*)?$", re.I)
"""A version and all below it: `/v1`, `/v1beta/openai`."""
_TWICE = re.compile(r"(/v\d+\w*)\1+$", re.I)
_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie|password", re.I)
_WORDLESS = {
    "ReadError": "the connection was reset",
    "WriteError": "the connection was reset",
    "CloseError": "the connection was reset",
    "ConnectTimeout": "it did not take the connection in time",
    "ReadTimeout": "it did not answer in time",
    "TimeoutError": "it did not answer in time",
}
_TLS = (
    ("certificate has expired", "Renew the server's certificate."),
    ("certificate is not yet valid", "See the clocks of both machines."),
    ("Hostname mismatch", "Use a name in the pool's url that the certificate is for."),
    ("IP address mismatch", "Use a name in the pool's url that the certificate is for."),
    ("CERTIFICATE_VERIFY_FAILED", "Set engine_args.ca_file to the PEM file of its authority."),
    ("WRONG_VERSION_NUMBER", "Perhaps the server speaks http:// there, and not https://."),
    ("record layer failure", "Perhaps the server speaks http:// there, and not https://."),
)
_HINTS = (
    ("max_completion_tokens", "rename: {max_tokens: max_completion_tokens}"),
    ("stream_options", "omit: [stream_options]"),
    ("response_format", "grammar: none"),
    ("system role", "system_role: user"),
    ("role system", "system_role: user"),
    ("conversation roles must alternate", "system_role: user"),
    ("temperature", "omit: [temperature]"),
    ("top_p", "omit: [top_p]"),
)


class Server:
    """`root` is for people and the health route, `api` for everything else."""

    def __init__(self, url: str, args: OpenAIArgs, key: Secret | None, replica_id: str) -> None:
        try:
            parts = urlsplit(checked_url(url))
        except ValueError as error:
            raise ConfigError(
                f"The url of {replica_id} is not valid: {error}.", where="url"
            ) from None
        path = re.sub("/{2,}", "/", parts.path.rstrip("/"))
        path = _TWICE.sub(r"\1", path)
        host = f"{parts.scheme}://{parts.netloc}"
        self.root = host + _VERSIONED.sub("", path)
        if args.api_path is not None:
            self.api = self.root + args.api_path.rstrip("/")
        else:
            self.api = host + (path if _VERSIONED.search(path) else f"{path}/v1")
        self._args = args
        headers = _headers(args.headers, replica_id)
        self._key = key
        self._headers = headers
        self.secrets = [value for name, value in headers.items() if _CREDENTIAL.search(name)]
        self.secrets += [Secret(v) for n, v in args.query.items() if _CREDENTIAL.search(n)]
        if key:
            self.secrets.append(key)
        self._client: httpx.AsyncClient | None = None

    # -- asking ----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def chat(self, body: dict[str, JsonValue]) -> AsyncIterator[httpx.Response]:
        """POST a chat completion. Raises EngineError for an error status and a redirect away."""
        url = f"{self.api}/chat/completions"
        for _ in range(MOST_REDIRECTS):
            async with self._http().stream("POST", url, json=body) as response:
                if response.is_redirect:
                    url = self._redirected(response)
                    continue
                if response.is_error or response.status_code in _NO_CONTENT:
                    read = await _some(response)
                    raise self.error(response.status_code, read, response.headers)
                self._check_coding(response)
                yield response
                return
        raise self._lost_in_redirects(url)

    async def get(self, url: str) -> httpx.Response:
        """GET below `root` or `api`. Raises httpx.HTTPError, TimeoutError, EngineError."""
        asked = url
        async with asyncio.timeout(self._args.connect_timeout_s + 5.0):
            for _ in range(MOST_REDIRECTS):
                response = await self._http().get(url)
                if not response.is_redirect:
                    return response
                url = self._redirected(response)
        raise self._lost_in_redirects(asked)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # -- errors ----------------------------------------------------------------------------------

    def error(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> EngineError:
        said = read_said(body, headers, self.secrets, limited=status == 429)
        words = said.words or "it gives no reason"
        return self.failure(status, said, f"{self.root} answers {status}: {words}")

    def failure(self, status: int, said: Said, message: str) -> EngineError:
        evidence: dict[str, object] = {"url": self.root, "status": status}
        if is_overflow(said.raw, status):
            evidence |= overflow_numbers(said.raw, said.fields)
            return EngineError(
                message, failure_class=FailureClass.CONTEXT_OVERFLOW, evidence=evidence
            )
        kind = class_of_status(status)
        passing = status in PASSING or (status < 500 and kind == FailureClass.BACKEND_UNREACHABLE)
        if said.for_good:
            kind = FailureClass.BACKEND_REFUSED
        elif passing or (said.asks_for_time and status not in _NOT_BUSY):
            kind, evidence["transient"] = FailureClass.BACKEND_UNREACHABLE, True
            if said.loading:
                evidence["loading"] = True
        if said.retry_after_s is not None:
            evidence["retry_after_s"] = said.retry_after_s
        return EngineError(
            message,
            failure_class=kind,
            evidence=evidence,
            remedy=_remedy(status, said) if kind == FailureClass.BACKEND_REFUSED else "",
        )

    def unreachable(self, error: Exception, tokens: int = 0) -> EngineError:
        reason = clean(str(error), self.secrets).rstrip(".") or _WORDLESS.get(
            type(error).__name__, type(error).__name__
        )
        evidence: dict[str, object] = {"url": self.root, "error": type(error).__name__}
        if tokens:
            return EngineError(
                f"{self.root} broke the stream after {tokens} tokens: {reason}.",
                evidence={**evidence, "tokens": tokens, "cut": True, "transient": True},
            )
        if isinstance(
            error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError
        ):
            return EngineError(
                f"{self.root} cannot be asked: {reason}.",
                failure_class=FailureClass.BACKEND_REFUSED,
                evidence=evidence,
                remedy="Correct the pool's url, headers or key.",
            )
        for mark, remedy in _TLS:
            if mark in reason:
                return EngineError(
                    f"{self.root} cannot be asked over TLS: {reason}.",
                    failure_class=FailureClass.BACKEND_REFUSED,
                    evidence=evidence,
                    remedy=remedy,
                )
        return EngineError(
            f"{self.root} cannot be reached: {reason}.",
            evidence={**evidence, "transient": True},
            remedy="Check that the server runs and that the pool's url is correct.",
        )

    def _redirected(self, response: httpx.Response) -> str:
        asked = str(response.headers.get("location", ""))
        try:
            there = urljoin(str(response.url), asked)
            old, new = urlsplit(str(response.url)), urlsplit(there)
            safer = new.scheme == "https" and old.scheme == "http"
            same = (new.scheme, new.port) == (old.scheme, old.port)
        except ValueError:
            asked, safer, same, new = "", False, False, urlsplit("")
        if asked and (safer or same) and new.hostname == old.hostname and "@" not in there:
            return there
        shown = urlunsplit((new.scheme, new.netloc, new.path, "", "")) if asked else ""
        shown = clean(shown, self.secrets)
        raise EngineError(
            f"{self.root} answers {response.status_code}, a redirect to {shown or 'nowhere'}; keys "
            "and prompts are not sent on to another server.",
            failure_class=FailureClass.BACKEND_REFUSED,
            evidence={"url": self.root, "status": response.status_code, "location": shown},
            remedy="Put that address into the replica's url.",
        )

    def _check_coding(self, response: httpx.Response) -> None:
        """None was asked for; those that are read anyway are undone by the client."""
        coding = response.headers.get("content-encoding", "").lower().replace("x-gzip", "gzip")
        if not {part.strip() for part in coding.split(",") if part.strip()} <= _CODINGS:
            raise EngineError(
                f"{self.root} answers in the encoding {clean(coding[:80], self.secrets)}, which "
                "nobody asked for.",
                failure_class=FailureClass.BACKEND_REFUSED,
                evidence={"url": self.root},
                remedy="Switch compression off in the server or in the proxy before it.",
            )
        if coding:
            response.headers["content-encoding"] = coding

    def _lost_in_redirects(self, url: str) -> EngineError:
        return EngineError(
            f"{self.root} redirects more than {MOST_REDIRECTS} times, the last time to "
            f"{clean(url, self.secrets)}.",
            failure_class=FailureClass.BACKEND_REFUSED,
            evidence={"url": self.root},
            remedy="Correct the replica's url or engine_args.api_path.",
        )

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # Proxies hold a compressed stream back until there is enough to compress.
            headers = {"Accept-Encoding": "identity"}
            headers |= {name: value.reveal() for name, value in self._headers.items()}
            if self._key:
                plain = self._args.key_header.lower() != "authorization"
                key = self._key.reveal()
                headers[self._args.key_header] = key if plain else f"Bearer {key}"
            self._client = httpx.AsyncClient(
                headers=headers,
                params=self._args.query or None,
                verify=_trust(self._args.ca_file),
                # Silence is judged by the call's own deadlines, so reading has none here.
                timeout=httpx.Timeout(30.0, connect=self._args.connect_timeout_s, read=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
                trust_env=False,
            )
        return self._client


def _remedy(status: int, said: Said) -> str:
    words = said.raw.lower()
    if status in (401, 403):
        return "Check that api_key_env names the variable with this server's key."
    if status == 404:
        return "Check the pool's model, url and engine_args.api_path."
    if status in (400, 422):
        for mark, setting in _HINTS:
            if mark in words:
                return f"Perhaps this server needs engine_args: {{{setting}}}."
    return ""


def _headers(headers: Mapping[str, str], replica_id: str) -> dict[str, Secret]:
    """Values with `env:` replaced; each a Secret, because any of them may be one."""
    made: dict[str, Secret] = {}
    for name, value in headers.items():
        variable = value.removeprefix("env:")
        made[name] = Secret(value) if variable == value else find_key(variable, os.environ)
        if not made[name]:
            raise ConfigError(
                f"Replica {replica_id} sends the header {name} and has no value for it.",
                where="engine_args.headers",
                remedy="Set the variable that `env:` names where the deployment is started.",
            )
    return made


@cache
def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Once for each file: reading the certificates takes longer than a request."""
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"engine_args.ca_file {ca_file} cannot be used: {error}.", where="engine_args.ca_file"
        ) from None


async def _some(response: httpx.Response) -> bytes:
    """The first part of an error body; a server that never ends it is not waited for."""
    read = b""
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(10.0):
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > _LONGEST_ERROR:
                    break
    return read


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`context_length` is 0 where the server does not say it. `any_name`: the server answers with
    this model whatever name it is asked for (llama.cpp)."""

    name: str
    context_length: int = 0
    any_name: bool = False

    def is_called(self, name: str) -> bool:
        """`:latest`, owners, folders and `.gguf` do not count where one side lacks them."""
        mine, wanted = self.name.lower(), name.lower()
        if mine == wanted or mine.removesuffix(":latest") == wanted.removesuffix(":latest"):
            return True
        short, asked = _short(mine), _short(wanted)
        return (short == asked and ("/" in mine) != ("/" in wanted)) or mine == f"{asked}.gguf"


def served_models(body: bytes) -> list[ServedModel]:
    """The list of `/v1/models`, in the forms that there are; [] for anything else."""
    data = read_object(body)
    if data is None:
        return []
    listed = data.get("data") or data.get("models")
    entries = listed[:2000] if isinstance(listed, list) else []
    found: list[ServedModel] = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(ServedModel(entry))
        elif isinstance(entry, dict):
            name = entry.get("id") or entry.get("name") or entry.get("model")
            if isinstance(name, str) and name:
                any_name = entry.get("owned_by") == "llamacpp" and len(entries) == 1
                found.append(ServedModel(name, _context(entry), any_name))
    return found


def find_model(name: str, models: list[ServedModel]) -> ServedModel | None:
    exact = next((model for model in models if model.name == name), None)
    loose = exact or next((model for model in models if model.is_called(name)), None)
    return loose or next((model for model in models if model.any_name), None)


def _context(entry: Mapping[str, object]) -> int:
    meta = entry.get("meta")
    places = [entry, *([meta] if isinstance(meta, dict) else [])]
    return next((n for place in places for key in _LENGTHS if (n := count(place.get(key)))), 0)


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(":latest").removesuffix(".gguf")
