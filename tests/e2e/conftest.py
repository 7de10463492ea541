"""The embedded world as fixtures."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_lab import Lab


@pytest.fixture(scope="session")
def world_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A world that all tests of a session share, each in its own way of leaving it as it was."""
    lab = Lab(tmp_path_factory.mktemp("world"))
    started = lab.faultlab("up")
    assert started.returncode == 0, started.stderr
    try:
        yield lab
    finally:
        lab.faultlab("down", "--purge")


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A home of its own, with no world yet; whatever the test left is ended."""
    lab = Lab(tmp_path / "home")
    try:
        yield lab
    finally:
        lab.faultlab("down", "--purge")
        for pid in lab.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def namespace(world_lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own in the shared world, labelled for chaos; gone afterwards."""
    name = "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:40].strip("-")
    kube = world_lab.kube()
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"faultlab.dev/chaos": "enabled"}},
    }
    kube.request("POST", "/api/v1/namespaces", json=document)
    try:
        yield name
    finally:
        kube.delete(f"/api/v1/namespaces/{name}", wait_s=20)
