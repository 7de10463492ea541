"""The end of a load: every key is read once more, and what could not be read is not passed over."""

from pathlib import Path

import pytest
from fake_member import meta, serving, store

from faultlab.contract.load import Keys, LoadConfig
from faultlab.contract.member import PeerAddress
from faultlab.history.events import read_events
from faultlab.load.session import FINAL_READ_LIMIT_S, Session, history_path


class Lab:
    """A session on a clock that only sleeping moves."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.now_ns = 0
        member = PeerAddress("m-0", "127.0.0.1", client_port=port)
        config = LoadConfig("demo", (member,), keys=Keys(count=3), data_dir=str(directory))
        self.session = Session(
            config, worker=0, workers=1, start_ns=0, sleep=self._sleep, clock=lambda: self.now_ns
        )

    def _sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)

    def finish(self) -> list[str | None]:
        """Ends the load; the keys that were read ok."""
        self.session.drain()
        self.session.finish()
        events = read_events(history_path(str(self.directory), 0))
        return [event.key for event in events if event.type == "ok"]


def test_every_key_is_read_once_more(tmp_path: Path) -> None:
    with serving(store()) as member:
        lab = Lab(tmp_path, member.port)
        assert lab.finish() == ["k0", "k1", "k2"]
    assert lab.session.unread == 0


@pytest.mark.parametrize("heals", [True, False])
def test_keys_that_cannot_be_read_in_time_are_counted(tmp_path: Path, heals: bool) -> None:
    asked = 0

    def answer(_: list[bytes]) -> bytes:
        nonlocal asked
        asked += 1
        return meta(b"$-1\r\n" if heals and asked > 5 else b"-NOTLEADER no leader is known\r\n")

    with serving(answer) as member:
        lab = Lab(tmp_path, member.port)
        read = lab.finish()
    assert len(read) == (3 if heals else 0)
    assert lab.session.unread == 3 - len(read)
    assert lab.now_ns <= (FINAL_READ_LIMIT_S + 1) * 1e9
