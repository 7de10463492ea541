"""Both servers, once for a session, and everything that the talks found so far."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from parity.book import ALL_CRDS, HOMES_OF_ALL
from parity.conversation import Conversation
from parity.player import Found, Player
from parity.worlds import cluster_side, embedded_side, own_server_side


class Record:
    """Plays each conversation once, whoever asks for it first."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._found: dict[str, list[Found]] = {}

    def of(self, talk: Conversation) -> list[Found]:
        if talk.id not in self._found:
            self._found[talk.id] = self._player.play(talk)
        return self._found[talk.id]


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    namespaces: list[str] = []
    with ExitStack() as stack:
        if request.config.getoption("--world") == "kind":
            context = request.config.getoption("--kube-context")
            real = stack.enter_context(cluster_side(context, ALL_CRDS, namespaces))
        else:
            folder = tmp_path_factory.mktemp("real-api")
            real = stack.enter_context(own_server_side(folder, ALL_CRDS))
        embedded = stack.enter_context(embedded_side(ALL_CRDS))
        yield Record(Player(embedded, real, uuid.uuid4().hex[:4], HOMES_OF_ALL, namespaces))
