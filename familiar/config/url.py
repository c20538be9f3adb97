"""Base URLs of model servers, checked when they are read and not when a call fails."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
_ENDPOINTS = ("/chat/completions", "/completions", "/models", "/health")


def checked_url(url: str) -> str:
    """`url` without blanks around it. Raises `ValueError` with a sentence that says what to write.

    Credentials are rejected and not repeated: a URL stands in logs, events and pages.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"this is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("a URL begins with http:// or https://, e.g. http://127.0.0.1:8001")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL holds no user or password; name the key's variable in api_key_env")
    if not host or not _HOST.fullmatch(host):
        raise ValueError(f"{host or 'nothing'} is not a host name")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("a base URL has no ? and no #; name a key's variable in api_key_env")
    if any(not character.isprintable() or character.isspace() for character in text):
        raise ValueError("a URL has no blanks and no control characters")
    for endpoint in _ENDPOINTS:
        if parts.path.rstrip("/").endswith(endpoint):
            base = text.rstrip("/").removesuffix(endpoint)
            raise ValueError(f"{text} is one endpoint; give the base URL: {base}")
    return text
