"""The worlds as fixtures: the same tests run embedded and, with `--world kind`, on the kind cluster."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_lab import EmbeddedLab
from kind_lab import KindLab
from lab import CHAOS_NAMESPACE_LABELS, Lab


@pytest.fixture(scope="session")
def world_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A world that all tests of a session share, each in its own way of leaving it as it was."""
    if request.config.getoption("--world") == "kind":
        kind = KindLab(request.config.getoption("--kube-context"))
        yield kind
        kind.await_namespaces_gone()
        return
    lab = EmbeddedLab(tmp_path_factory.mktemp("world"))
    started = lab.faultlab("up")
    assert started.returncode == 0, started.stderr
    try:
        yield lab
    finally:
        lab.faultlab("down", "--purge")


@pytest.fixture
def kind_lab(world_lab: Lab) -> KindLab:
    """The cluster, for tests of what only a cluster has."""
    assert isinstance(world_lab, KindLab)
    return world_lab


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[EmbeddedLab]:
    """A home of its own, with no world yet; whatever the test left is ended."""
    lab = EmbeddedLab(tmp_path / "home")
    try:
        yield lab
    finally:
        lab.faultlab("down", "--purge")
        for pid in lab.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def namespace(world_lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own in the shared world, open to faults and closed to unsafe pods.

    Its end is asked for after the test and awaited at the session's end: pods on a cluster take their time.
    """
    words = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())
    name = f"t-{words[:40].strip('-')}-{secrets.token_hex(2)}"
    world_lab.make_namespace(name, CHAOS_NAMESPACE_LABELS)
    try:
        yield name
    finally:
        world_lab.begin_to_delete_namespace(name)
