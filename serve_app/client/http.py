"""A running service over its HTTP API.

A stream that is cut is taken up again after the last event that was seen (`Last-Event-ID`), so
every event comes once and in order however often the connection breaks; only the API's own `end`
message ends it. When no answer comes for `PATIENCE_S`, that is an error which says that the run
itself goes on. Where nothing listens any more, or the API says that the deployment has ended
(`error`), there is nothing to wait for. Nothing but reading is ever repeated from here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import TypeAdapter

from familiar.errors import (
    ClusterError,
    Conflict,
    DeploymentEnded,
    FamiliarError,
    InputError,
    NotFound,
)
from familiar.event import Event, event_from_row
from familiar.explain.diff import RunDiff
from familiar.explain.explanation import Explanation
from familiar.secret import Secret, scrub
from familiar.service import Readiness, SubmitRun
from serve_app.client.service import Message
from serve_app.models import (
    ArtifactList,
    CallDetail,
    CallList,
    CancelAccepted,
    Deployment,
    HttpModel,
    Plan,
    PoolList,
    RecordedEvent,
    RunAccepted,
    RunDetail,
    RunPage,
    StreamEnd,
    StreamProgress,
)

ANSWER_S = 60.0
# Three heartbeats of the API.
SILENCE_S = 45.0
# A loaded machine may take seconds for /healthz, and too short a wait would take it for absent.
PROBE_S = 10.0
PATIENCE_S = 120.0
# A service that is restarted listens again within this time.
REFUSED_S = 15.0
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0)
_UNAVAILABLE = frozenset({502, 503, 504})

T = TypeVar("T")


class Presence(Enum):
    """Presence of a service at an address. Only `ABSENT` means that no program listens."""

    PRESENT = "a familiar service answers"
    ABSENT = "nothing listens"
    FOREIGN = "another program answers"
    UNKNOWN = "a program listens and does not answer"


class HttpService:
    """Implements `Service` over the API at `url`, with the bearer key `key` if there is one."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.url = scrub(url.strip().rstrip("/"))
        self._patience_s = patience_s
        secret = Secret(key or "")
        if secret and not secret.sendable:
            raise InputError(
                "The bearer key holds a character that no HTTP header can carry.",
                field="key",
                remedy="Set FAMILIAR_KEY to the key alone: visible ASCII, no blanks inside.",
            )
        try:
            self._http = httpx.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {secret.reveal()}"} if secret else {},
                timeout=httpx.Timeout(ANSWER_S, connect=5.0),
                trust_env=False,
            )
            if self._http.base_url.scheme not in ("http", "https"):
                raise httpx.InvalidURL("it does not begin with http:// or https://")
            if not self._http.base_url.host or urlsplit(self.url).port == 0:
                raise httpx.InvalidURL("it has no host, or port 0")
        except (httpx.InvalidURL, ValueError) as error:
            raise InputError(
                f"{url} is not the URL of a service: {error}.",
                field="url",
                remedy="Example: http://127.0.0.1:8321",
            ) from None

    @property
    def where(self) -> str:
        return self.url

    def close(self) -> None:
        self._http.close()

    def presence(self) -> Presence:
        """Look for a service. An answer that is late, cut or odd is `UNKNOWN`, never `ABSENT`."""
        try:
            reply = self._http.get("/healthz", timeout=PROBE_S)
        except httpx.HTTPError as error:
            return Presence.ABSENT if _connection_refused(error) else Presence.UNKNOWN
        try:
            if reply.status_code == 200 and reply.json() == {"status": "ok"}:
                return Presence.PRESENT
        except ValueError:
            return Presence.FOREIGN
        # Serve's proxy answers 404 or 5xx while the API behind it is being replaced.
        serve = reply.status_code == 404 and reply.text.startswith("Path ")
        return Presence.UNKNOWN if serve or reply.is_server_error else Presence.FOREIGN

    def deployment(self) -> Deployment:
        return self._get(Deployment, "/v1/deployment")

    # --- Service

    def submit(self, order: SubmitRun) -> RunAccepted:
        path = (
            f"/v1/sessions/{quote(order.session_id, safe='')}/runs"
            if order.session_id
            else "/v1/runs"
        )
        body: dict[str, Any] = {"goal": order.goal}
        if order.files is not None:
            body["files"] = list(order.files)
        headers = {"Idempotency-Key": order.idempotency_key} if order.idempotency_key else {}
        reply = self._ask("POST", path, json=body, headers=headers)
        return RunAccepted.model_validate_json(reply.content)

    def cancel(self, run_id: str, reason: str) -> CancelAccepted:
        reply = self._ask("POST", f"/v1/runs/{run_id}/cancel", json={"reason": reason})
        return CancelAccepted.model_validate_json(reply.content)

    def pools(self) -> PoolList:
        return self._get(PoolList, "/v1/pools")

    def readiness(self) -> Readiness:
        try:
            reply = self._http.get("/readyz")
            if reply.status_code == 200:
                return Readiness(True)
            body = reply.json()
            reasons = body.get("reasons") or [body.get("detail", reply.reason_phrase)]
            return Readiness(False, tuple(str(reason) for reason in reasons))
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            return Readiness(False, (f"{self.url} does not answer: {error}.",))

    # --- History

    def runs(self, limit: int, cursor: str | None = None, status: str | None = None) -> RunPage:
        asked = {"limit": str(limit), "cursor": cursor, "status": status}
        return self._get(RunPage, "/v1/runs", {k: v for k, v in asked.items() if v is not None})

    def run(self, run_id: str) -> RunDetail:
        return self._get(RunDetail, f"/v1/runs/{run_id}")

    def plan(self, run_id: str) -> Plan:
        return self._get(Plan, f"/v1/runs/{run_id}/plan")

    def calls(self, run_id: str) -> CallList:
        return self._get(CallList, f"/v1/runs/{run_id}/calls")

    def call(self, run_id: str, call_id: str) -> CallDetail:
        return self._get(CallDetail, f"/v1/runs/{run_id}/calls/{quote(call_id, safe='')}")

    def artifacts(self, run_id: str) -> ArtifactList:
        return self._get(ArtifactList, f"/v1/runs/{run_id}/artifacts")

    def explanation(self, run_id: str) -> Explanation:
        return self._get(Explanation, f"/v1/runs/{run_id}/explain")

    def difference(self, run_id: str, other: str) -> RunDiff:
        return self._get(RunDiff, f"/v1/runs/{run_id}/diff/{other}")

    def text(self, run_id: str, digits: str) -> str:
        return self._ask("GET", f"/v1/runs/{run_id}/texts/{digits}").text

    def stream(self, run_id: str, after: int = 0) -> Iterator[Message]:
        seq = after
        attempts = 0
        away_since: float | None = None
        while True:
            error: Exception = ClusterError("the stream ends without a message")
            try:
                for message in self._connection(run_id, seq):
                    attempts, away_since = 0, None
                    if isinstance(message, Event):
                        if message.seq <= seq:
                            continue
                        seq = message.seq
                    yield message
                    if isinstance(message, StreamEnd):
                        return
            except DeploymentEnded:
                raise
            except (httpx.TransportError, ClusterError) as caught:
                error = caught
            now = time.monotonic()
            away_since = away_since or now
            self._check_patience(run_id, now - away_since, error)
            time.sleep(_PAUSES_S[min(attempts, len(_PAUSES_S) - 1)])
            attempts += 1

    def _check_patience(self, run_id: str, away_s: float, error: Exception) -> None:
        """Raise when a service that has been away for `away_s` is waited for no longer."""
        if _connection_refused(error) and away_s > min(REFUSED_S, self._patience_s):
            raise DeploymentEnded(
                f"Nothing listens at {self.url} any more; run {run_id} was still open.",
                remedy="It continues when its deployment is started again.",
            ) from None
        if away_s > self._patience_s:
            raise ClusterError(
                f"{self.url} has not answered for {self._patience_s:.0f} s "
                f"({_said(error)}); the run itself goes on where the service is.",
                remedy=f"Follow it again later: familiar show {run_id} --follow",
            ) from None

    def _connection(self, run_id: str, after: int) -> Iterator[Message]:
        """One connection's messages. A stream that is over without `end` simply stops."""
        with self._http.stream(
            "GET",
            f"/v1/runs/{run_id}/events",
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(after)},
            timeout=httpx.Timeout(SILENCE_S, connect=5.0),
        ) as reply:
            if reply.status_code != 200:
                reply.read()
                raise _problem(reply, self.url)
            for message in read_messages(reply.iter_lines()):
                read = _read(message)
                if read is not None:
                    yield read

    def _get(self, kind: type[T], path: str, params: Mapping[str, str | None] | None = None) -> T:
        return TypeAdapter(kind).validate_json(self._ask("GET", path, params=params).content)

    # Any: what httpx takes for a JSON body.
    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            reply = self._http.request(method, path, **given)
        except httpx.TransportError as error:
            if _connection_refused(error):
                raise ClusterError(
                    f"No service listens at {self.url}.",
                    remedy="Start one with `familiar serve`, or name another with --url.",
                ) from None
            raise ClusterError(
                f"The service at {self.url} did not answer ({_said(error)}).",
                remedy="Repeat the command; `familiar doctor` looks for the cause.",
            ) from None
        if reply.is_success:
            return reply
        raise _problem(reply, self.url)


def _read(message: ServerSentMessage) -> Message | None:
    """None for a kind or a body that this version does not know. Raises `DeploymentEnded`."""
    try:
        if message.event == "error":
            found = json.loads(message.data)
            raise DeploymentEnded(str(found["detail"]), remedy=str(found.get("remedy") or ""))
        if message.event == "progress":
            return StreamProgress.model_validate_json(message.data)
        if message.event == "end":
            return StreamEnd.model_validate_json(message.data)
        if message.event:
            return None
        recorded = RecordedEvent.model_validate_json(message.data)
        body = RecordedBody(type=recorded.type, **recorded.body).model_dump_json()
        return event_from_row(recorded.run_id, recorded.seq, recorded.epoch, recorded.at, body)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class ServerSentMessage:
    """`event` is empty for the default kind. The id is not read: an event's body has its seq."""

    data: str
    event: str = ""


def read_messages(lines: Iterable[str]) -> Iterator[ServerSentMessage]:
    """Put the messages of a stream together; `lines` come without their ends. Lines that begin with
    a colon are heartbeats; what the end of the input cuts off is no message."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield ServerSentMessage("\n".join(fields["data"]), fields.get("event", [""])[-1])
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))


class RecordedBody(HttpModel, extra="allow"):
    """An event's body with its type inside, as the store has it."""

    type: str


def _problem(reply: httpx.Response, url: str) -> FamiliarError:
    """The error that a problem document stands for."""
    try:
        body = reply.json()
        detail, remedy = str(body["detail"]), str(body.get("remedy") or "")
        field = str(body.get("field") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        detail = (
            f"{url} answered {reply.status_code} {reply.reason_phrase} and is not a familiar API."
        )
        return ClusterError(detail, remedy="Correct the URL.")
    if reply.status_code == 404:
        return NotFound(detail, field=field, remedy=remedy)
    if reply.status_code == 409:
        return Conflict(detail, field=field, remedy=remedy)
    if reply.status_code == 401:
        remedy = "Put a key of the service's api.keys into FAMILIAR_KEY."
    if reply.status_code in _UNAVAILABLE:
        return ClusterError(detail, remedy=remedy)
    if reply.is_client_error:
        return InputError(detail, field=field, remedy=remedy)
    return FamiliarError(detail, remedy=remedy)


def _said(error: Exception) -> str:
    return scrub(str(error)) or type(error).__name__


def _connection_refused(error: BaseException) -> bool:
    """Whether the operating system said that nothing listens there."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
