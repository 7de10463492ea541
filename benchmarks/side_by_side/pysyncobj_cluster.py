"""PySyncObj members, each a small program of ours around the library (pysyncobj_member.py)."""

import importlib.util
import socket
import sys
from pathlib import Path
from typing import ClassVar

from .cluster import Cluster

_TIMEOUT_S = 1.0


def is_installed() -> bool:
    """Whether PySyncObj can be imported here."""
    return importlib.util.find_spec("pysyncobj") is not None


class PySyncObjCluster(Cluster):
    """Always with PySyncObj's own timing: it takes a range and allows no heartbeat under a third of it."""

    system: ClassVar[str] = "pysyncobj"

    def prepare(self) -> None:
        for index in range(len(self.places)):
            (self.directory / f"data-{index}").mkdir()

    def command(self, index: int) -> list[str]:
        program = Path(__file__).with_name("pysyncobj_member.py")
        peers = [f"{place.host}:{place.ports[1]}" for place in self.places]
        me = peers.pop(index)
        directory = str(self.directory / f"data-{index}")
        return [sys.executable, str(program), str(self.places[index].ports[0]), directory, me, *peers]

    def leader_and_term(self, index: int) -> tuple[int | None, int] | None:
        try:
            with socket.create_connection(self.client_address(index), _TIMEOUT_S) as connection:
                connection.sendall(b"*1\r\n$4\r\nINFO\r\n")
                answer = connection.recv(1024).decode()
        except OSError:
            return None
        leader, _, term = answer.split("\r\n")[1].partition(" ")
        by_address = {f"{place.host}:{place.ports[1]}": i for i, place in enumerate(self.places)}
        return by_address.get(leader), int(term)
