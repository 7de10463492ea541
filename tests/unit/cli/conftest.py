"""The fixtures of the command line's tests."""

import pytest
from cli_cluster import Cluster

from faultlab_cli import operator_pod


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_pod, "PAUSE_S", 0.001)
