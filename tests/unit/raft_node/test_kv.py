"""The state machine, held against a model in plain Python and against itself."""

import random
from typing import Any

import pytest

from faultlab.raft.commands import COMMANDS, MAX_KEY_BYTES, MAX_VALUE_BYTES, prepare
from faultlab.raft.kv import MAX_REPLY_BYTES, KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.raft.vetting import is_read


class Member:
    """Runs commands as if each had been committed at once."""

    def __init__(self) -> None:
        self.store = KeyValueStore()

    def run(self, *args: str | bytes) -> Any:
        encoded = [arg.encode() if isinstance(arg, str) else arg for arg in args]
        spec = COMMANDS[encoded[0].decode()]
        assert spec.admits(len(encoded)), "the connection refuses a wrong arity"
        command = prepare(spec, encoded)
        if isinstance(command, str):
            return command
        if is_read(command):
            return self.store.read(command)
        return self.store.apply(Entry(self.store.applied_index + 1, 1, command))


@pytest.fixture
def member() -> Member:
    return Member()


def test_set_and_its_options_do_as_in_redis(member: Member) -> None:
    assert member.run("SET", "k", "1", "XX") is None
    assert member.run("GET", "k") is None
    assert member.run("SET", "k", "1", "nx") == "+OK"
    assert member.run("SET", "k", "2", "NX") is None
    assert member.run("SET", "k", "3", "NX", "GET") == b"1"
    assert member.run("GET", "k") == b"1"
    assert member.run("SET", "k", "4", "GET") == b"1"
    assert member.run("SET", "new", "5", "GET") is None
    assert member.run("GET", "new") == b"5"
    assert member.run("SET", "k", "", "XX") == "+OK"
    assert member.run("GET", "k") == b""


def test_cas_swaps_only_the_value_expected(member: Member) -> None:
    assert member.run("CAS", "k", "", "1") == 0
    member.run("SET", "k", "1")
    assert member.run("CAS", "k", "2", "3") == 0
    assert member.run("CAS", "k", "1", "3") == 1
    assert member.run("GET", "k") == b"3"


def test_several_keys_at_once(member: Member) -> None:
    assert member.run("MSET", "a", "1", "b", "2", "a", "3") == "+OK"
    assert member.run("MGET", "a", "none", "b") == [b"3", None, b"2"]
    assert member.run("EXISTS", "a", "a", "none") == 2
    assert member.run("DEL", "a", "a", "b", "none") == 2
    assert member.run("EXISTS", "a", "b") == 0


def test_lists_do_as_in_redis(member: Member) -> None:
    assert member.run("LRANGE", "l", "0", "-1") == []
    assert member.run("LLEN", "l") == 0
    assert member.run("RPUSH", "l", "a", "b") == 2
    assert member.run("RPUSH", "l", "c", "a") == 4
    assert member.run("LLEN", "l") == 4
    for start, stop, expected in [
        (0, -1, "abca"), (1, 2, "bc"), (-2, -1, "ca"), (-9, 9, "abca"),
        (2, 1, ""), (4, 9, ""), (0, -9, ""), (0, 0, "a"),
    ]:  # fmt: skip
        values = member.run("LRANGE", "l", str(start), str(stop))
        assert b"".join(values).decode() == expected, (start, stop)
    assert member.run("EXISTS", "l") == 1
    assert member.run("DEL", "l") == 1
    assert member.run("LLEN", "l") == 0


@pytest.mark.parametrize(
    "args",
    [
        ["GET", "l"], ["INCR", "l"], ["DECRBY", "l", "2"], ["CAS", "l", "a", "b"], ["SET", "l", "v", "GET"],
        ["SET", "l", "v", "NX", "GET"], ["RPUSH", "s", "v"], ["LLEN", "s"], ["LRANGE", "s", "0", "1"],
    ],
)  # fmt: skip
def test_commands_for_another_type_are_refused_as_in_redis(member: Member, args: list[str]) -> None:
    member.run("RPUSH", "l", "a")
    member.run("SET", "s", "v")
    assert member.run(*args) == "-WRONGTYPE Operation against a key holding the wrong kind of value"
    assert (member.run("LRANGE", "l", "0", "-1"), member.run("GET", "s")) == ([b"a"], b"v")


def test_a_list_is_there_for_commands_of_any_type(member: Member) -> None:
    member.run("RPUSH", "l", "a")
    assert member.run("MGET", "l", "l") == [None, None]
    assert member.run("SET", "l", "v", "NX") is None
    assert member.run("SET", "l", "v", "XX") == "+OK"
    member.run("RPUSH", "m", "a")
    member.run("MSET", "m", "w")
    assert member.run("MGET", "l", "m") == [b"v", b"w"]


def test_a_list_is_bounded(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faultlab.raft.lists.MAX_LIST_BYTES", 100)
    assert "the list would be longer" in member.run("RPUSH", "l", "x" * 200)
    assert member.run("EXISTS", "l") == 0
    assert member.run("RPUSH", "l", "x" * 60) == 1
    assert "the list would be longer" in member.run("RPUSH", "l", "x" * 10, "y" * 10)
    assert member.run("RPUSH", "l", "y" * 8) == 2
    big = b"v" * MAX_VALUE_BYTES
    monkeypatch.undo()
    count = MAX_REPLY_BYTES // MAX_VALUE_BYTES + 1
    for _ in range(count):
        member.run("RPUSH", "big", big)
    assert "ask for fewer" in member.run("LRANGE", "big", "0", "-1")
    assert len(member.run("LRANGE", "big", "1", "-1")) == count - 1


def test_counters_count(member: Member) -> None:
    assert member.run("INCR", "n") == 1
    assert member.run("INCRBY", "n", "41") == 42
    assert member.run("DECR", "n") == 41
    assert member.run("DECRBY", "n", "-9") == 50
    assert member.run("GET", "n") == b"50"


@pytest.mark.parametrize(
    "value", ["", "word", "1.5", " 1", "1 ", "+1", "01", "-0", "9" * 30, "9223372036854775808", "1_0", "１"]
)
def test_a_counter_that_is_no_integer_is_refused_and_kept(member: Member, value: str) -> None:
    member.run("SET", "n", value)
    assert member.run("INCR", "n") == "-ERR value is not an integer or out of range"
    assert member.run("INCRBY", "x", value) == "-ERR value is not an integer or out of range"
    assert member.run("GET", "n") == value.encode()
    assert member.run("GET", "x") is None


def test_a_counter_at_its_end_overflows_with_the_redis_error(member: Member) -> None:
    member.run("SET", "n", str(2**63 - 1))
    assert member.run("INCR", "n") == "-ERR increment or decrement would overflow"
    assert member.run("DECRBY", "n", str(-(2**63 - 1))) == "-ERR increment or decrement would overflow"
    assert member.run("GET", "n") == b"9223372036854775807"
    member.run("SET", "n", str(-(2**63)))
    assert member.run("DECR", "n") == "-ERR increment or decrement would overflow"
    assert member.run("DECRBY", "n", str(-(2**63))) == "-ERR value is not an integer or out of range"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["SET", "k", "v", "EX", "10"], "SET option 'EX' is not supported"),
        (["SET", "k", "v", "NX", "XX"], "exclude each other"),
        (["SET", "k" * (MAX_KEY_BYTES + 1), "v"], "key is longer than 65536 bytes"),
        (["SET", "k", "v" * (MAX_VALUE_BYTES + 1)], "value is longer than 1048576 bytes"),
        (["CAS", "k", "v" * (MAX_VALUE_BYTES + 1), "v"], "value is longer"),
        (["CAS", "k", "v", "v" * (MAX_VALUE_BYTES + 1)], "value is longer"),
        (["MSET", "a", "1", "b"], "wrong number of arguments for 'mset'"),
        (["MSET", "a", "1", "b", "v" * (MAX_VALUE_BYTES + 1)], "value is longer"),
        (["MSET", "a", "1", "k" * (MAX_KEY_BYTES + 1), "1"], "key is longer"),
        (["GET", "k" * (MAX_KEY_BYTES + 1)], "key is longer"),
        (["DEL", "a", "k" * (MAX_KEY_BYTES + 1)], "key is longer"),
        (["INCR", "k" * (MAX_KEY_BYTES + 1)], "key is longer"),
        (["RPUSH", "k" * (MAX_KEY_BYTES + 1), "v"], "key is longer"),
        (["RPUSH", "k", "v", "v" * (MAX_VALUE_BYTES + 1)], "value is longer"),
        (["LRANGE", "k", "0", "x"], "not an integer"),
        (["LLEN", "k" * (MAX_KEY_BYTES + 1)], "key is longer"),
    ],
)
def test_what_can_be_refused_is_refused_before_it_is_proposed(
    member: Member, args: list[str], message: str
) -> None:
    reply = member.run(*args)
    assert reply.startswith("-ERR ")
    assert message in reply
    assert member.store.applied_index == 0


def test_the_largest_key_and_value_are_taken(member: Member) -> None:
    key, value = b"k" * MAX_KEY_BYTES, b"v" * MAX_VALUE_BYTES
    assert member.run("SET", key, value) == "+OK"
    assert member.run("GET", key) == value


def test_an_answer_that_would_be_too_long_is_refused(member: Member) -> None:
    member.run("SET", "big", b"v" * MAX_VALUE_BYTES)
    count = MAX_REPLY_BYTES // MAX_VALUE_BYTES
    assert len(member.run("MGET", *["big"] * count)) == count
    assert "ask for fewer keys" in member.run("MGET", *["big"] * (count + 1))


def test_a_no_op_changes_nothing_but_the_position(member: Member) -> None:
    member.run("SET", "k", "v")
    assert member.store.apply(Entry(2, 2, b"")) is None
    assert (member.store.applied_index, member.store.applied_term, len(member.store)) == (2, 2, 1)


def random_entries(seed: int, count: int) -> list[Entry]:
    rng = random.Random(seed)
    entries = []
    for index in range(1, count + 1):
        key = b"k%d" % rng.randrange(4)
        args = rng.choice(
            [
                [b"SET", key, b"%d" % rng.randrange(5)],
                [b"SET", key, b"x", rng.choice([b"NX", b"XX", b"GET"])],
                [b"DEL", key],
                [b"INCR", key],
                [b"CAS", key, b"%d" % rng.randrange(5), b"7"],
                [b"RPUSH", key, b"1", b"2"],
            ]
        )
        command = prepare(COMMANDS[args[0].decode()], args)
        assert isinstance(command, bytes)
        entries.append(Entry(index, 1, command))
    return entries


@pytest.mark.parametrize("seed", range(5))
def test_equal_logs_give_equal_results_and_digests(seed: int) -> None:
    one, other = KeyValueStore(), KeyValueStore()
    for entry in random_entries(seed, 300):
        assert one.apply(entry) == other.apply(entry)
        assert one.digest() == other.digest()


@pytest.mark.parametrize("position", [1, 63, 64, 65, 200])
def test_the_digest_goes_on_after_a_snapshot_wherever_it_was_taken(position: int) -> None:
    steady, early = KeyValueStore(), KeyValueStore()
    entries = random_entries(1, 300)
    entries[100:] = [Entry(entry.index, 2, entry.data) for entry in entries[100:]]
    for entry in entries[:position]:
        steady.apply(entry)
        early.apply(entry)
    restored = KeyValueStore()
    restored.restore(early.freeze().chunks())
    for entry in entries[position:]:
        steady.apply(entry)
        restored.apply(entry)
        assert restored.digest() == steady.digest()


@pytest.mark.parametrize("change", ["index", "term", "data", "order", "boundary", "kind"])
def test_any_difference_in_the_log_shows_in_every_later_digest(change: str) -> None:
    entries = [Entry(i, 1, data) for i, data in enumerate((b"", b"", b""), 1)]
    different = list(entries)
    one, other = KeyValueStore(), KeyValueStore()
    if change == "index":
        other.applied_index = 1
        different = [Entry(entry.index + 1, 1, entry.data) for entry in entries]
    elif change == "term":
        different[0] = Entry(1, 2, b"")
    elif change == "kind":
        different[0] = Entry(1, 1, b"", 1)
    else:
        set_a, set_b = (prepare(COMMANDS["SET"], [b"SET", b"k", value]) for value in (b"a", b"b"))
        assert isinstance(set_a, bytes)
        assert isinstance(set_b, bytes)
        if change == "data":
            different[0] = Entry(1, 1, set_a)
        elif change == "order":
            entries[:2] = [Entry(1, 1, set_a), Entry(2, 1, set_b)]
            different[:2] = [Entry(1, 1, set_b), Entry(2, 1, set_a)]
        else:
            entries[:2] = [Entry(1, 1, set_a), Entry(2, 1, b"")]
            different[:2] = [Entry(1, 1, b""), Entry(2, 1, set_a)]
    for first, second in zip(entries, different, strict=True):
        one.apply(first)
        other.apply(second)
    assert one.digest() != other.digest()


@pytest.mark.parametrize("data", [b"", b"\x90", b"\x91\x63", b"\xff\xff", b"\x01", b"\x91\xa1x", b"\x91\x90"])
def test_bytes_that_are_no_command_are_not_taken_from_a_peer(data: bytes) -> None:
    with pytest.raises(ValueError, match="command"):
        is_read(data)
