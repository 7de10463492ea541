"""What a reply means for the history, and that one operation is at most one request on the wire."""

import socket
import time
from pathlib import Path

import pytest
from fake_member import in_session, meta, serving

from faultlab.contract.load import Keys, Mix
from faultlab.contract.member import PeerAddress
from faultlab.history.events import Event, read_events
from faultlab.load.choice import Chooser, Operation
from faultlab.load.client import Client
from faultlab.load.recorder import Recorder


class Lab:
    """A client of one member, with its history."""

    def __init__(
        self,
        path: Path,
        port: int,
        timeout_s: float = 0.3,
        other_ports: tuple[int, ...] = (),
        *,
        retry_limit_s: float = 0.0,
        sessions: bool = True,
    ) -> None:
        """The client is at home at m-0 on `port`; redirects may name m-1, ... on `other_ports`."""
        self.path = path / "history.ndjson"
        self.recorder = Recorder(self.path, worker=0, start_ns=time.monotonic_ns(), clock=time.monotonic_ns)
        self.chooser = Chooser(Mix(), Keys(), seed=1, worker=0)
        ports = (port, *other_ports)
        members = [PeerAddress(f"m-{at}", "127.0.0.1", client_port=each) for at, each in enumerate(ports)]
        self.client = Client(
            members[0],
            self.recorder,
            self.chooser,
            timeout_s=timeout_s,
            members=members,
            retry_limit_s=retry_limit_s,
            sessions=sessions,
        )

    def perform(self, operation: Operation) -> tuple[Event, Event]:
        self.client.perform(operation, None)
        self.recorder.flush()
        invoke, completion = list(read_events(self.path))[-2:]
        return invoke, completion


WRITE = Operation("write", "k", "v1")
CAS = Operation("cas", "k", ["v1", "v2"])
READ = Operation("read", "k", None)
APPEND = Operation("append", "l", "v1,", "list")
READ_LIST = Operation("read", "l", None, "list")
INCR = Operation("incr", "c", None, "counter")


@pytest.mark.parametrize(
    ("operation", "reply", "outcome", "value"),
    [
        (WRITE, b"+OK\r\n", "ok", "v1"),
        (READ, b"$2\r\nv1\r\n", "ok", "v1"),
        (READ, b"$-1\r\n", "ok", None),
        (CAS, b":1\r\n", "ok", ["v1", "v2"]),
        (CAS, b":0\r\n", "fail", ["v1", "v2"]),
        (APPEND, b":3\r\n", "ok", "v1,"),
        (READ_LIST, b"*2\r\n$3\r\nv1,\r\n$3\r\nv2,\r\n", "ok", "v1,v2,"),
        (READ_LIST, b"*0\r\n", "ok", None),
        (INCR, b":3\r\n", "ok", 3),
        (WRITE, b"-NOTLEADER no leader is known\r\n", "fail", "v1"),
        (WRITE, b"-BUSY too much is in flight\r\n", "fail", "v1"),
        (WRITE, b"-UNKNOWN the leader changed\r\n", "info", "v1"),
        (WRITE, b":7\r\n", "info", "v1"),
    ],
)
def test_a_reply_is_recorded_as_what_it_proves(
    tmp_path: Path, operation: Operation, reply: bytes, outcome: str, value: object
) -> None:
    with serving(in_session(lambda _: meta(reply))) as member:
        invoke, completion = Lab(tmp_path, member.port).perform(operation)
    assert (completion.type, completion.value, completion.term) == (outcome, value, 3)
    assert (invoke.process, invoke.type) == (completion.process, "invoke")


@pytest.mark.parametrize(
    ("operation", "reply", "answered"),
    [
        (CAS, b":1\r\n", True),
        (CAS, b":0\r\n", True),
        (CAS, b"-NOTLEADER no leader is known\r\n", False),
        (WRITE, b"-BUSY too much is in flight\r\n", False),
    ],
)
def test_a_cas_that_lost_its_race_is_an_answer_and_a_refused_one_is_not(
    tmp_path: Path, operation: Operation, reply: bytes, answered: bool
) -> None:
    with serving(in_session(lambda _: meta(reply))) as member:
        assert Lab(tmp_path, member.port).client.perform(operation, None).answered == answered


def test_an_operation_whose_reply_is_dropped_is_sent_once_and_stays_open_for_ever(tmp_path: Path) -> None:
    with serving(in_session(lambda _: None)) as member:
        lab = Lab(tmp_path, member.port)
        first, completion = lab.perform(WRITE)
        second, _ = lab.perform(WRITE)
        assert len(member.commands) == 2
    assert completion.type == "info"
    assert second.process != first.process


def test_no_answer_in_time_is_info(tmp_path: Path) -> None:
    with serving(in_session(lambda _: b"")) as member:
        _, completion = Lab(tmp_path, member.port, timeout_s=0.1).perform(WRITE)
    assert completion.type == "info"


def test_a_refused_connection_is_a_definite_failure_under_the_same_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    lab = Lab(tmp_path, port)
    first, completion = lab.perform(WRITE)
    second, _ = lab.perform(WRITE)
    assert completion.type == "fail"
    assert first.process == second.process


def test_a_redirect_moves_the_next_operation_to_the_member_it_names_and_the_history_says_so(
    tmp_path: Path,
) -> None:
    with serving(in_session(lambda _: meta(b"+OK\r\n"))) as leader:
        moved = meta(b"-MOVED 0 127.0.0.1:%d\r\n" % leader.port)
        with serving(in_session(lambda _: moved)) as follower:
            lab = Lab(tmp_path, follower.port, other_ports=(leader.port,))
            first = lab.perform(WRITE)
            second = lab.perform(WRITE)
        assert len(leader.commands) == 1
    assert [event.member for event in (*first, *second)] == ["m-0", "m-0", "m-1", "m-1"]
    assert [first[1].type, second[1].type] == ["fail", "ok"]


@pytest.mark.parametrize("answer", [meta(b"-NOTLEADER it has stepped down\r\n"), b"", None])
def test_a_client_that_was_redirected_asks_at_home_again_when_that_member_fails_it(
    tmp_path: Path, answer: bytes | None
) -> None:
    with serving(in_session(lambda _: answer)) as deposed:
        moved = meta(b"-MOVED 0 127.0.0.1:%d\r\n" % deposed.port)
        with serving(in_session(lambda _: moved)) as home:
            lab = Lab(tmp_path, home.port, timeout_s=0.1, other_ports=(deposed.port,))
            went_to = [lab.perform(WRITE)[0].member for _ in range(4)]
    assert went_to == ["m-0", "m-1", "m-0", "m-1"]
