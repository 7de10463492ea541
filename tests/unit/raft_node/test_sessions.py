"""Exactly once: a write that arrives again, late or out of order is applied once, whatever lies between."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_member import Member, copy_of, encoded

from faultlab.raft import sessions as sessions_module
from faultlab.raft.commands import COMMANDS, UNSTAMPED, prepare, stamp, unwrap
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.raft.sessions import DEFAULT_TTL_MS, KEPT_REPLIES, MAX_TTL_MS
from faultlab.raft.vetting import is_read
from faultlab.runtime.resp.handler import MAX_USER_BYTES


@pytest.fixture
def member() -> Member:
    return Member()


def test_a_request_that_comes_again_is_answered_as_before_and_not_applied_again(member: Member) -> None:
    session = member.open()
    assert member.run("REQ", session, 1, "INCR", "n") == 1
    assert member.run("REQ", session, 1, "INCR", "n") == 1
    assert member.run("REQ", session, 2, "RPUSH", "l", "a", "b") == 2
    assert member.run("REQ", session, 2, "RPUSH", "l", "a", "b") == 2
    assert member.run("REQ", session, 3, "CAS", "n", "1", "9") == 1
    assert member.run("REQ", session, 3, "CAS", "n", "1", "9") == 1
    assert (member.run("GET", "n"), member.run("LLEN", "l")) == (b"9", 2)


def test_an_error_is_an_answer_that_is_kept(member: Member) -> None:
    session = member.open()
    member.run("SET", "k", "word")
    refused = member.run("REQ", session, 1, "INCR", "k")
    assert refused.startswith("-ERR value is not an integer")
    member.run("SET", "k", "5")
    assert member.run("REQ", session, 1, "INCR", "k") == refused
    assert member.run("GET", "k") == b"5"


def test_sessions_do_not_know_each_others_numbers(member: Member) -> None:
    one, other = member.open(), member.open()
    assert one != other
    assert [member.run("REQ", session, 1, "INCR", "n") for session in (one, other, one, other)] == [
        1,
        2,
        1,
        2,
    ]


def test_late_requests_are_applied_in_any_order_but_each_once(member: Member) -> None:
    session = member.open()
    answers = [member.run("REQ", session, number, "INCR", "n") for number in (3, 1, 2, 1, 3, 2)]
    assert answers == [1, 2, 3, 2, 1, 3]


def test_a_number_below_the_window_is_stale_and_never_applied(member: Member) -> None:
    session = member.open()
    for number in range(2, KEPT_REPLIES + 3):
        member.run("REQ", session, number, "INCR", "n")
    for forgotten_or_skipped in (1, 2):
        assert member.run("REQ", session, forgotten_or_skipped, "INCR", "n").startswith("-SESSIONSTALE ")
    assert member.run("REQ", session, 3, "INCR", "n") == 2
    assert member.run("GET", "n") == b"%d" % (KEPT_REPLIES + 1)


def test_unknown_and_closed_sessions_are_told_so_and_nothing_is_applied(member: Member) -> None:
    session = member.open()
    assert member.run("SESSION", "CLOSE", session) == 1
    assert member.run("SESSION", "CLOSE", session) == 0
    for gone in (session, 99):
        assert member.run("REQ", gone, 1, "INCR", "n").startswith("-SESSIONEXPIRED ")
    assert member.run("GET", "n") is None


def test_a_session_expires_by_log_time_after_its_last_use(member: Member) -> None:
    session = member.open("TTL", 1000)
    member.now_ms += 900
    member.run("REQ", session, 1, "INCR", "n")
    member.now_ms += 1000
    assert member.run("REQ", session, 1, "INCR", "n") == 1, "used 1000 ms ago: just not too old"
    member.now_ms += 1001
    assert member.run("REQ", session, 1, "INCR", "n").startswith("-SESSIONEXPIRED ")
    assert member.store.sessions == 0


def test_only_stamped_entries_move_log_time_and_never_back(member: Member) -> None:
    session = member.open("TTL", 1000)
    member.now_ms += 10_000
    for _ in range(3):
        member.run("SET", "k", "v")
    member.now_ms -= 9_500
    assert member.run("REQ", session, 1, "INCR", "n") == 1
    member.now_ms -= 400_000
    assert member.run("REQ", session, 2, "INCR", "n") == 2
    assert member.store.freeze().log_time_ms == 1_000_500


def test_the_default_ttl_is_what_the_documentation_says(member: Member) -> None:
    session = member.open()
    member.now_ms += DEFAULT_TTL_MS
    assert member.run("REQ", session, 1, "INCR", "n") == 1
    member.now_ms += DEFAULT_TTL_MS + 1
    assert member.run("REQ", session, 2, "INCR", "n").startswith("-SESSIONEXPIRED ")


def test_beyond_the_bound_the_session_used_least_recently_gives_way(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 3)
    first, second, third = member.open(), member.open(), member.open()
    member.run("REQ", first, 1, "INCR", "n")
    fourth = member.open()
    alive = [
        not str(member.run("REQ", session, 2, "INCR", "n")).startswith("-SESSIONEXPIRED")
        for session in (first, second, third, fourth)
    ]
    assert alive == [True, False, True, True]


def test_kept_replies_are_bounded_by_their_bytes_too(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSION_BYTES", 3000)
    monkeypatch.setattr(sessions_module, "MAX_KEPT_BYTES", 4000)
    member.run("SET", "k", b"v" * 1000)
    one, other = member.open(), member.open()
    for session in (one, other):
        for number in range(1, 5):
            member.run("REQ", session, number, "SET", "k", b"v" * 1000, "GET")
    assert member.run("REQ", other, 2, "INCR", "n").startswith("-SESSIONSTALE ")
    assert len(member.run("REQ", other, 3, "SET", "k", b"v" * 1000, "GET")) == 1000
    assert member.run("REQ", one, 4, "INCR", "n").startswith("-SESSIONEXPIRED "), "both are too much"
    assert member.run("GET", "n") is None


def test_sessions_opened_and_closed_for_ever_leave_nothing_behind(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 5)
    for _ in range(100):
        member.run("SESSION", "CLOSE", member.open())
    assert member.store.sessions == 0
    assert len(member.store._sessions._deadlines) <= 10


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["REQ", "1", "1", "GET", "k"], "REQ takes a write, which 'GET' is not"),
        (["REQ", "1", "1", "REQ", "1", "1", "INCR", "k"], "which 'REQ' is not"),
        (["REQ", "1", "1", "SESSION", "OPEN"], "which 'SESSION' is not"),
        (["REQ", "1", "1", "NONSENSE"], "which 'NONSENSE' is not"),
        (["REQ", "1", "1", "SET", "k"], "wrong number of arguments for 'set'"),
        (["REQ", "0", "1", "INCR", "k"], "id of a session"),
        (["REQ", "x", "1", "INCR", "k"], "id of a session"),
        (["REQ", "1", "-1", "INCR", "k"], "number of a request"),
        (["REQ", "1", "1", "INCRBY", "k", "x"], "not an integer"),
        (["SESSION", "OPEN", "TTL", "0"], "TTL is 1 to"),
        (["SESSION", "OPEN", "TTL", str(MAX_TTL_MS + 1)], "TTL is 1 to"),
        (["SESSION", "OPEN", "FOR", "5"], "SESSION OPEN \\[TTL"),
        (["SESSION", "CLOSE"], "SESSION CLOSE ID"),
        (["SESSION", "CLOSE", "x"], "id of a session"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_before_it_is_proposed(args: list[str], message: str) -> None:
    refused = prepare(COMMANDS[args[0]], [arg.encode() for arg in args])
    assert isinstance(refused, str)
    assert refused.startswith("-ERR ")
    assert message.replace("\\", "") in refused


@pytest.mark.parametrize("args", [["MSET", "a", "v", "b", "w"], ["DEL", "a"], ["RPUSH", "a", "b"]])
def test_a_request_is_about_the_command_in_it(args: list[str]) -> None:
    plain = [arg.encode() for arg in args]
    spec = COMMANDS[args[0]]
    for spelling in (plain, [plain[0].lower(), *plain[1:]]):
        assert unwrap(COMMANDS["REQ"], [b"REQ", b"1", b"1", *spelling]) == (spec, spelling)
    assert unwrap(spec, plain) == (spec, plain)
    assert isinstance(unwrap(COMMANDS["REQ"], [b"REQ", b"1", b"1", b"GET", b"a"]), str)


def test_the_stamp_is_the_leaders_whatever_was_there_and_plain_commands_have_none() -> None:
    request = encoded("REQ", 7, 1, "INCR", "n", now_ms=2**40)
    assert stamp(request, 5) == encoded("REQ", 7, 1, "INCR", "n", now_ms=5)
    assert len(stamp(request, 2**63)) == len(request)
    many = encoded("DEL", *[f"k{number}" for number in range(0x0C01)])
    for plain in (encoded("SET", "k", "v"), encoded("RPUSH", "l", *"abc"), many, b""):
        assert stamp(plain, 5) == plain


def test_a_session_is_its_users_and_for_others_it_does_not_exist(member: Member) -> None:
    member.run("SET", "app/x", "secret")
    session = member.open(user="app")
    asked = ("REQ", session, 1, "SET", "app/x", "new", "GET")
    assert member.run(*asked, user="app") == b"secret"
    never_was = member.run("REQ", 10**6, 1, "INCR", "n")
    for other in ("wo", "", "App", "app "):
        assert member.run(*asked, user=other) == never_was, "others are told what is kept"
        assert member.run("REQ", session, 1, "SET", "wo/x", "z", user=other) == never_was
        assert member.run("REQ", session, 2, "INCR", "n", user=other) == never_was
        assert member.run("SESSION", "CLOSE", session, user=other) == 0
    assert member.run("MGET", "app/x", "wo/x", "n") == [b"new", None, None]
    assert member.run(*asked, user="app") == b"secret"
    assert member.run("SESSION", "CLOSE", session, user="app") == 1


def test_who_logs_in_has_no_part_in_sessions_from_before_logins(member: Member) -> None:
    session = member.open()
    assert member.run("REQ", session, 1, "INCR", "n") == 1
    assert member.run("REQ", session, 1, "INCR", "n", user="app").startswith("-SESSIONEXPIRED ")


def test_others_cannot_keep_a_session_alive_nor_have_it_outlive_newer_ones(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 2)
    first, second = member.open("TTL", 1000, user="app"), member.open("TTL", 1000, user="app")
    member.run("REQ", first, 1, "INCR", "n", user="wo")
    member.run("REQ", first, 1, "INCR", "n")
    third = member.open("TTL", 1000, user="app")
    assert member.run("REQ", first, 1, "INCR", "n", user="app").startswith("-SESSIONEXPIRED ")
    assert member.run("REQ", second, 1, "INCR", "n", user="app") == 1
    member.now_ms += 900
    member.run("REQ", third, 1, "INCR", "n", user="wo")
    member.now_ms += 101
    assert member.run("REQ", third, 1, "INCR", "n", user="app").startswith("-SESSIONEXPIRED ")


def test_a_number_that_comes_with_another_command_is_refused_and_not_applied(member: Member) -> None:
    session = member.open()
    assert member.run("REQ", session, 7, "INCR", "n") == 1
    for other in (("INCR", "m"), ("INCRBY", "n", 2), ("SET", "n", "1"), ("DEL", "n")):
        refused = member.run("REQ", session, 7, *other)
        assert refused.startswith(f"-ERR request number 7 of session {session} was used for another command")
    assert member.run("REQ", session, 7, "incr", "n") == 1, "the same command, written otherwise"
    assert member.run("MGET", "n", "m") == [b"1", None]
    assert member.run("REQ", session, 8, "DEL", "none") == 0
    assert member.run("REQ", session, 9, "SET", "n", "2", "XX", "GET") == b"1"
    assert member.run("REQ", session, 10, "SET", "none", "2", "XX") is None
    assert member.run("REQ", session, 10, "SET", "none", "2", "NX").startswith("-ERR request number 10 ")
    assert member.run("GET", "none") is None


def test_without_a_login_session_commands_are_in_the_log_as_before_there_were_users() -> None:
    inner = encoded("INCR", "n")
    for command, args in (
        (encoded("SESSION", "OPEN", now_ms=5), [12, DEFAULT_TTL_MS]),
        (encoded("SESSION", "CLOSE", 7, now_ms=5), [13, 7]),
        (encoded("REQ", 7, 1, "INCR", "n", now_ms=5), [14, 7, 1, inner]),
    ):
        assert command == stamp(msgspec.msgpack.encode([*args, UNSTAMPED]), 5)
        assert msgspec.msgpack.decode(command) == [*args, 5]


@pytest.mark.parametrize("args", [["SESSION", "OPEN"], ["SESSION", "CLOSE", 7], ["REQ", 7, 1, "INCR", "n"]])
def test_the_user_is_in_what_a_peer_passes_on_and_the_leaders_stamp_behind_it(args: list[str | int]) -> None:
    command = encoded(*args, user="app", now_ms=2**40)
    assert msgspec.msgpack.decode(command)[-2:] == ["app", 2**40]
    assert stamp(command, 5) == encoded(*args, user="app", now_ms=5)
    assert not is_read(command)
    *head, _, _ = msgspec.msgpack.decode(command)
    long = "é" * (MAX_USER_BYTES // 2)
    assert not is_read(msgspec.msgpack.encode([*head, long, UNSTAMPED]))
    for users in ([""], [long + "x"], [b"app"], [None], [7], ["app", "app"], [["app"]]):
        with pytest.raises(ValueError, match="other arguments"):
            is_read(msgspec.msgpack.encode([*head, *users, UNSTAMPED]))


def test_a_peers_request_that_holds_no_write_is_refused() -> None:
    good = encoded("REQ", 7, 1, "INCR", "n")
    assert not is_read(good)
    inner = encoded("INCR", "n")
    for other in (encoded("GET", "n"), encoded("SESSION", "OPEN"), good, b"\xc0"):
        forged = good.replace(b"\xc4" + bytes([len(inner)]) + inner, b"\xc4" + bytes([len(other)]) + other)
        assert forged != good
        with pytest.raises(ValueError, match=r"REQ|command"):
            is_read(forged)


class TestRulesSwitchedOff:
    """Each makes the failure that it is there for."""

    def test_forget_session_applies_a_retry_again(self) -> None:
        member = Member("forgetSession")
        session = member.open()
        assert [member.run("REQ", session, 1, "INCR", "n") for _ in range(2)] == [1, 2]

    def test_snapshot_without_sessions_makes_members_differ(self) -> None:
        member = Member("snapshotWithoutSessions")
        session = member.open()
        member.run("REQ", session, 1, "INCR", "n")
        copy = copy_of(member.store, "snapshotWithoutSessions")
        assert copy.fingerprint() != member.store.fingerprint()
        entry = Entry(copy.applied_index + 1, 1, encoded("REQ", session, 2, "INCR", "n"))
        assert copy.apply(entry) != member.store.apply(entry)

    def test_expire_by_own_clock_makes_members_differ(self) -> None:
        one, other = Member("expireByOwnClock"), Member("expireByOwnClock")
        for member in (one, other):
            member.open("TTL", 1000)
        one.own_ms += 1001
        answers = [member.run("REQ", 1, 1, "INCR", "n") for member in (one, other)]
        assert answers[0].startswith("-SESSIONEXPIRED ")
        assert answers[1] == 1
        assert one.store.fingerprint() != other.store.fingerprint()

    def test_expire_by_own_clock_needs_one(self) -> None:
        with pytest.raises(ValueError, match="own_clock_ms"):
            KeyValueStore("expireByOwnClock")


REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.just("req"), st.integers(0, 2), st.integers(1, 12)),
        st.tuples(st.just("open"), st.integers(0, 2), st.integers(50, 400)),
        st.tuples(st.just("close"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("wait"), st.integers(-50, 200), st.just(0)),
        st.tuples(st.just("plain"), st.integers(0, 2), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(events=REQUESTS, freezes=st.sets(st.integers(0, 60), max_size=4), window=st.integers(1, 5))
def test_no_number_is_applied_twice_and_replicas_agree_whatever_is_repeated_delayed_reordered_or_restored(
    events: list[tuple[str, int, int]], freezes: set[int], window: int
) -> None:
    """A request pushes its own (session, number) to a list, so applying it twice would show. One replica is
    replaced by a restored copy at every freeze, the other never is."""
    kept = sessions_module.KEPT_REPLIES
    sessions_module.KEPT_REPLIES = window
    try:
        steady, moving = KeyValueStore(), KeyValueStore()
        ids = [90_001, 90_002, 90_003]
        answers: dict[tuple[int, int], Any] = {}
        now_ms = 1000
        for step, (what, which, extra) in enumerate(events):
            session = ids[which] if what in ("req", "close", "open") else 0
            if what == "wait":
                now_ms += which
                continue
            command = {
                "req": ("REQ", session, extra, "RPUSH", "l", f"{session}:{extra}"),
                "open": ("SESSION", "OPEN", "TTL", extra),
                "close": ("SESSION", "CLOSE", session),
                "plain": ("SET", "l2", step),
            }[what]
            entry = Entry(steady.applied_index + 1, 1, encoded(*command, now_ms=max(now_ms, 0)))
            answer = steady.apply(entry)
            assert moving.apply(entry) == answer
            if what == "open":
                assert isinstance(answer, int)
                ids[which] = answer
            elif what == "req" and isinstance(answer, int):
                assert answers.setdefault((session, extra), answer) == answer
            if step in freezes:
                moving = copy_of(moving)
            assert (steady.digest(), steady.fingerprint()) == (moving.digest(), moving.fingerprint())
        pushed = steady.read(encoded("LRANGE", "l", 0, -1))
        assert isinstance(pushed, list)
        assert len(set(map(str, pushed))) == len(pushed)
        assert [str(item) for item in pushed] == [
            str(f"{session}:{number}".encode())
            for (session, number), _ in sorted(answers.items(), key=lambda a: a[1])
        ]
    finally:
        sessions_module.KEPT_REPLIES = kept
