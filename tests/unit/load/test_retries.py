"""A write whose answer was lost is sent again, is applied once, and stays one operation of the history."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_member import Answer, FakeMember, meta, serving, store
from test_client import APPEND, INCR, READ, READ_LIST, WRITE, Lab

from faultlab.checker import check
from faultlab.history.events import read_events
from faultlab.load.client import Client, longest_operation_s

LIMIT_S = 2.0


def losing(answer: Answer, lost: Callable[[int, list[bytes]], bool]) -> Answer:
    """A member that does what it is asked, and then loses the replies for which `lost` holds.

    `lost` is given how many writes came before, and the request.
    """
    count = 0

    def run(command: list[bytes]) -> bytes | None:
        nonlocal count
        reply = answer(command)
        if command[0] in (b"SESSION", b"GET", b"LRANGE"):
            return reply
        count += 1
        return None if lost(count - 1, command) else reply

    return run


def test_a_write_whose_reply_is_lost_is_sent_again_elsewhere_under_its_number_and_applied_once(
    tmp_path: Path,
) -> None:
    shared = store()
    with serving(losing(shared, lambda count, _: count == 0)) as home, serving(shared) as other:
        lab = Lab(tmp_path, home.port, other_ports=(other.port,), retry_limit_s=LIMIT_S)
        invoke, completion = lab.perform(INCR)
        again = lab.perform(INCR)
    assert (completion.type, completion.value, completion.attempts) == ("ok", 1, 2)
    assert (invoke.member, completion.member) == ("m-0", "m-1")
    assert invoke.process == completion.process == again[0].process
    assert [event.member for event in again] == ["m-0", "m-0"], "the next operation begins at home"
    assert again[1].value == 2
    assert home.commands[0] == other.commands[0]
    assert home.commands[1][2] != home.commands[0][2], "each operation has a number of its own"


@pytest.mark.parametrize("doubt", [b"-UNKNOWN not decided in time\r\n", None])
def test_refusals_of_what_was_sent_again_are_no_answer_and_it_is_info_only_after_the_limit(
    tmp_path: Path, doubt: bytes | None
) -> None:
    def unsure(command: list[bytes]) -> bytes | None:
        if command[0] == b"SESSION":
            return meta(b":7\r\n")
        return meta(doubt) if doubt and len(home.commands) == 1 else None

    refused = meta(b"-NOTLEADER no leader is known here; nothing happened, try again\r\n")
    with serving(unsure) as home, serving(lambda _: refused) as other:
        lab = Lab(tmp_path, home.port, other_ports=(other.port,), retry_limit_s=0.5)
        began = time.monotonic()
        invoke, completion = lab.perform(WRITE)
        took_s = time.monotonic() - began
        later, _ = lab.perform(READ)
        assert len(other.commands) >= 2
    assert completion.type == "info"
    assert completion.attempts == len(home.commands) - 1 + len(other.commands)
    assert 0.5 <= took_s < 1.5
    assert later.process != invoke.process
    assert later.member == "m-0"


@pytest.mark.parametrize("refusal", [b"-NOTLEADER x\r\n", b"-BUSY x\r\n", b"-MOVED 0 127.0.0.1:1\r\n"])
def test_what_was_refused_when_it_was_sent_first_certainly_failed_and_is_not_sent_again(
    tmp_path: Path, refusal: bytes
) -> None:
    def answer(command: list[bytes]) -> bytes:
        return meta(b":7\r\n" if command[0] == b"SESSION" else refusal)

    with serving(answer) as home:
        _, completion = Lab(tmp_path, home.port, retry_limit_s=LIMIT_S).perform(WRITE)
        assert len(home.commands) == 1
    assert (completion.type, completion.attempts) == ("fail", 1)


def test_without_a_session_nothing_is_sent_and_that_is_a_definite_failure(tmp_path: Path) -> None:
    with serving(lambda _: None) as home:
        lab = Lab(tmp_path, home.port, retry_limit_s=LIMIT_S)
        first, completion = lab.perform(WRITE)
        second, _ = lab.perform(WRITE)
        assert home.commands == []
    assert completion.type == "fail"
    assert first.process == second.process


def test_a_redirect_during_a_retry_is_followed_and_the_next_operation_begins_at_home(tmp_path: Path) -> None:
    shared = store()
    with serving(losing(shared, lambda count, _: count == 0)) as home, serving(shared) as leader:
        moved = meta(b"-MOVED 0 127.0.0.1:%d\r\n" % leader.port)
        with serving(lambda _: moved) as follower:
            ports = (follower.port, leader.port)
            lab = Lab(tmp_path, home.port, other_ports=ports, retry_limit_s=LIMIT_S)
            first = lab.perform(INCR)
            second = lab.perform(INCR)
        assert len(leader.commands) == 1
    assert [event.member for event in (*first, *second)] == ["m-0", "m-2", "m-0", "m-0"]
    assert (first[1].value, second[1].value) == (1, 2)


def test_an_expired_session_ends_the_retries_as_info_and_another_is_opened(tmp_path: Path) -> None:
    expired = meta(b"-SESSIONEXPIRED there is no such session\r\n")
    shared = store()
    with (
        serving(losing(shared, lambda count, _: count == 0)) as home,
        serving(lambda _: expired) as other,
    ):
        lab = Lab(tmp_path, home.port, other_ports=(other.port,), retry_limit_s=LIMIT_S)
        _, completion = lab.perform(INCR)
        _, after = lab.perform(INCR)
    assert (completion.type, completion.attempts) == ("info", 2)
    assert completion.error is not None
    assert completion.error.startswith("SESSIONEXPIRED")
    assert (after.type, after.value) == ("ok", 2)
    assert [command[1:3] for command in home.commands] == [[b"1", b"1"], [b"3", b"1"]]


def test_a_session_that_had_expired_before_anything_was_sent_is_a_definite_failure(tmp_path: Path) -> None:
    sessions = 0

    def answer(command: list[bytes]) -> bytes:
        nonlocal sessions
        if command[0] == b"SESSION":
            sessions += 1
            return meta(b":%d\r\n" % sessions)
        return meta(b"+OK\r\n" if command[1] == b"2" else b"-SESSIONEXPIRED there is no such session\r\n")

    with serving(answer) as home:
        lab = Lab(tmp_path, home.port, retry_limit_s=LIMIT_S)
        outcomes = [lab.perform(WRITE)[1].type for _ in range(3)]
    assert outcomes == ["fail", "ok", "ok"]
    assert sessions == 2


def test_reads_are_sent_once(tmp_path: Path) -> None:
    with serving(lambda _: None) as home:
        _, completion = Lab(tmp_path, home.port, retry_limit_s=LIMIT_S).perform(READ)
        assert home.commands == [[b"GET", b"k"]]
    assert (completion.type, completion.attempts) == ("info", 1)


@pytest.mark.parametrize("sessions", [True, False])
def test_retries_apply_twice_what_has_no_session_and_the_checker_says_so(
    tmp_path: Path, sessions: bool
) -> None:
    """Every third reply is lost after the write was applied, as by a leader that dies before it answers."""
    answer = losing(store(), lambda count, _: count % 3 == 0)
    with serving(answer) as home, serving(answer) as other:
        lab = Lab(tmp_path, home.port, other_ports=(other.port,), retry_limit_s=LIMIT_S, sessions=sessions)
        for _ in range(6):
            for operation in (INCR, APPEND, READ_LIST):
                lab.perform(operation)
            lab.client.perform(APPEND._replace(value=f"{time.monotonic_ns()},"), None)
    lab.recorder.flush()
    counted = [event for event in read_events(lab.path) if event.type == "ok" and event.f == "incr"]
    assert ([event.value for event in counted] == [1, 2, 3, 4, 5, 6]) is sessions
    assert check(read_events(lab.path), "mixed").result == ("valid" if sessions else "invalid")


def test_clients_at_two_members_that_lose_replies_at_random_leave_a_history_that_has_an_order(
    tmp_path: Path,
) -> None:
    lost = iter([b % 5 < 2 for b in bytes(range(256)) * 8])
    lock = threading.Lock()

    def lose(_count: int, _command: list[bytes]) -> bool:
        with lock:
            return next(lost)

    shared = store()
    members: list[FakeMember] = []
    with serving(losing(shared, lose)) as one, serving(losing(shared, lose)) as other:
        members += [one, other]
        lab = Lab(tmp_path, one.port, other_ports=(other.port,), retry_limit_s=LIMIT_S)
        addresses = list(lab.client._members.values())
        clients = [
            Client(
                addresses[number % 2],
                lab.recorder,
                lab.chooser,
                timeout_s=0.3,
                members=addresses,
                retry_limit_s=LIMIT_S,
            )
            for number in range(4)
        ]

        def work(client: Client) -> None:
            for number in range(12):
                client.perform(
                    (INCR, READ_LIST, APPEND._replace(value=f"{id(client)}-{number},"))[number % 3], None
                )

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    lab.recorder.flush()
    events = list(read_events(lab.path))
    assert {event.type for event in events} == {"invoke", "ok"}
    assert check(events, "mixed").result == "valid"


def test_the_longest_operation_is_bounded_and_known(tmp_path: Path) -> None:
    from faultlab.contract.load import LoadConfig

    config = LoadConfig("demo", (), operation_timeout_ms=100, retry_limit_ms=300)
    with serving(lambda command: meta(b":7\r\n") if command[0] == b"SESSION" else b"") as home:
        lab = Lab(tmp_path, home.port, timeout_s=0.1, retry_limit_s=0.3)
        began = time.monotonic()
        lab.perform(WRITE)
    assert time.monotonic() - began < longest_operation_s(config) + 0.2
