"""A taken port is one sentence: which, by whom, what to do."""

from __future__ import annotations

import os
import socket

import pytest

from cluster.ports import check_port_free
from familiar.errors import ClusterError


def test_a_free_port_passes_and_stays_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check_port_free("127.0.0.1", port, purpose="The API")
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_a_taken_port_is_named_with_its_holder() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(ClusterError) as raised:
            check_port_free("127.0.0.1", port, purpose="The API")
    told = str(raised.value)
    assert f"The API cannot listen on 127.0.0.1:{port}" in told
    assert f"process {os.getpid()} (" in told
    assert "choose another port" in told


def test_an_address_of_another_machine_is_rejected() -> None:
    with pytest.raises(ClusterError, match="address of this machine"):
        check_port_free("203.0.113.7", 8321, purpose="The API")


def test_a_host_without_an_address_is_rejected() -> None:
    with pytest.raises(ClusterError, match="does not resolve"):
        check_port_free("no-such-host.invalid", 8321, purpose="The API")
