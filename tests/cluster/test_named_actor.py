"""A named actor is kept while its fingerprint is right, and replaced when it is not."""

from __future__ import annotations

import os
from typing import Any

import pytest
import ray

from cluster.local import LocalCluster
from cluster.named_actor import end_actor, ensure_actor, find_actor

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]

NAME = "keeper"
NAMESPACE = "named-actors"


class Keeper:
    def __init__(self, fingerprint: str, *, broken: bool = False) -> None:
        self._fingerprint = fingerprint
        self._broken = broken

    def fingerprint(self) -> str:
        if self._broken:
            raise ValueError("it is broken")
        return self._fingerprint

    def pid(self) -> int:
        return os.getpid()


def ensure(fingerprint: str, *, broken: bool = False, keep_silent: bool = False) -> Any:
    return ensure_actor(
        Keeper,
        name=NAME,
        namespace=NAMESPACE,
        fingerprint=fingerprint,
        options={"num_cpus": 0},
        arguments=[fingerprint],
        keywords={"broken": broken},
        keep_silent=keep_silent,
    )


@pytest.fixture(autouse=True)
def ended(shared_ray: LocalCluster) -> Any:
    yield
    if (actor := find_actor(NAME, NAMESPACE)) is not None:
        end_actor(actor, NAME, NAMESPACE)


def pid_of(actor: Any) -> int:
    return int(ray.get(actor.pid.remote()))


def test_the_same_fingerprint_keeps_the_process() -> None:
    first = pid_of(ensure("a"))
    assert pid_of(ensure("a")) == first


def test_another_fingerprint_replaces_the_process() -> None:
    first = pid_of(ensure("a"))
    second = ensure("b")
    assert pid_of(second) != first
    assert ray.get(second.fingerprint.remote()) == "b"


@pytest.mark.parametrize("keep_silent", [False, True])
def test_an_actor_that_fails_to_answer_is_replaced_unless_it_shall_be_kept(
    keep_silent: bool,
) -> None:
    first = pid_of(ensure("a", broken=True))
    assert (pid_of(ensure("a", keep_silent=keep_silent)) == first) is keep_silent


def test_an_ended_actor_leaves_its_name_free() -> None:
    assert end_actor(ensure("a"), NAME, NAMESPACE)
    assert find_actor(NAME, NAMESPACE) is None
