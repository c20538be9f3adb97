"""Encryption of connections between nodes that are not Ray's own, with Ray's certificates.

Ray reads `RAY_USE_TLS` and three file names from the environment of each of its processes; both
sides of a connection show a certificate that the authority in `RAY_TLS_CA_CERT` has signed. Host
names are not compared: nodes are known by address, and who connects knows a secret besides.
"""

from __future__ import annotations

import os
import ssl


def server_tls() -> ssl.SSLContext | None:
    """For who listens; None when Ray does not encrypt. Raises `OSError` for a file that is
    missing or no certificate."""
    return _context(ssl.PROTOCOL_TLS_SERVER)


def client_tls() -> ssl.SSLContext | None:
    """For who connects; see `server_tls`."""
    return _context(ssl.PROTOCOL_TLS_CLIENT)


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext | None:
    if os.environ.get("RAY_USE_TLS", "0").lower() not in {"1", "true"}:
        return None
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(_file("SERVER_CERT"), _file("SERVER_KEY"))
    context.load_verify_locations(_file("CA_CERT"))
    return context


def _file(name: str) -> str:
    variable = f"RAY_TLS_{name}"
    path = os.environ.get(variable)
    if not path:
        raise FileNotFoundError(f"RAY_USE_TLS is on and {variable} names no file")
    return path
