"""Sessions, keys and lists in a snapshot: what is frozen, written and restored is the whole state."""

import threading

import pytest
from session_member import Member, copy_of, encoded

from faultlab.raft.errors import BadState
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry, EntryKind
from faultlab.raft.store_snapshot import MAGIC, SLICE_BYTES, read_chunks


@pytest.fixture
def member() -> Member:
    return Member()


class TestSnapshots:
    """What is frozen, written and restored is the whole state."""

    def test_a_restored_member_goes_on_as_the_one_that_it_was_taken_from(self, member: Member) -> None:
        session = member.open()
        member.run("REQ", session, 1, "RPUSH", "l", *"abc")
        member.run("SET", "k", "v")
        member.store.apply(
            Entry(member.store.applied_index + 1, 2, b"configuration", EntryKind.CONFIGURATION)
        )
        member.run("SESSION", "OPEN", user="app")
        copy = copy_of(member.store)
        theirs = member.store.applied_index
        for args, user in (
            (("REQ", session, 1, "RPUSH", "l", *"abc"), ""),
            (("REQ", session, 1, "RPUSH", "l", "x"), ""),
            (("REQ", session, 2, "RPUSH", "l", "d"), ""),
            (("REQ", theirs, 1, "RPUSH", "l", "e"), "wo"),
            (("REQ", theirs, 1, "RPUSH", "l", "e"), "app"),
        ):
            entry = Entry(copy.applied_index + 1, 2, encoded(*args, now_ms=member.now_ms, user=user))
            assert copy.apply(entry) == member.store.apply(entry)
        assert copy.digest() == member.store.digest()
        assert copy.fingerprint() == member.store.fingerprint()
        assert list(copy.freeze().chunks()) == list(member.store.freeze().chunks())
        assert copy.read(encoded("LRANGE", "l", 0, -1)) == [b"a", b"b", b"c", b"d", b"e"]

    def test_what_is_applied_after_the_freeze_is_not_in_it(self, member: Member) -> None:
        session = member.open()
        member.run("REQ", session, 1, "RPUSH", "l", "a")
        frozen = member.store.freeze()
        before = list(frozen.chunks())
        for number in range(1, 5):
            member.run("REQ", session, number, "RPUSH", "l", "b")
            member.run("SET", "k", "v")
        member.run("DEL", "l")
        member.run("SESSION", "CLOSE", session)
        assert list(frozen.chunks()) == before

    def test_it_can_be_written_by_another_thread_while_commands_are_applied(self, member: Member) -> None:
        for number in range(3000):
            member.run("RPUSH", f"l{number % 50}", "x" * 100)
        frozen = member.store.freeze()
        expected = list(frozen.chunks())
        written: list[bytes] = []
        writer = threading.Thread(target=lambda: written.extend(frozen.chunks()))
        writer.start()
        for number in range(3000):
            member.run("RPUSH", f"l{number % 50}", "y")
        writer.join(10)
        assert written == expected

    def test_large_states_come_in_bounded_pieces_that_may_be_cut_anywhere(self, member: Member) -> None:
        for number in range(40):
            member.run("SET", f"k{number}", b"v" * 50_000)
        member.run("RPUSH", "small", "a")
        for _ in range(30):
            member.run("RPUSH", "long", *[b"x" * 40_000] * 2)
        member.run("SET", "last", "v")
        session = member.open()
        member.run("REQ", session, 1, "INCR", "n")
        chunks = list(member.store.freeze().chunks())
        assert len(chunks) > 10
        assert max(map(len, chunks)) < SLICE_BYTES + 100_000
        whole = b"".join(chunks)
        for size in (7, 1000, 300_000, len(whole)):
            if size == 7:
                cut = [whole[:7], whole[7:9], whole[9:]]
            else:
                cut = [whole[at : at + size] for at in range(0, len(whole), size)]
            copy = KeyValueStore()
            copy.restore(cut)
            assert copy.fingerprint() == member.store.fingerprint()
            assert list(copy.freeze().chunks()) == chunks

    def test_damage_is_refused_with_a_reason_and_changes_nothing(self, member: Member) -> None:
        session = member.open()
        member.run("REQ", session, 1, "RPUSH", "l", "a")
        member.run("SET", "k", "v")
        whole = b"".join(member.store.freeze().chunks())
        other = Member()
        other.run("SET", "mine", "1")
        before = other.store.fingerprint()
        for at in range(len(whole)):
            with pytest.raises(BadState):
                other.store.restore([whole[:at]])
        for damaged in (b"", b"FLKX" + whole[4:], whole + b"\0", whole + whole[4:], MAGIC + b"\xff" * 40):
            with pytest.raises(BadState, match="snapshot"):
                other.store.restore([damaged])
        assert other.store.fingerprint() == before

    def test_every_damaged_byte_is_refused_or_read_as_some_other_state(self, member: Member) -> None:
        """Checksums are the file's; here nothing but BadState may come of it, and nothing half-restored."""
        session = member.open()
        member.run("REQ", session, 1, "RPUSH", "l", "a")
        member.run("SET", "k", "v")
        whole = b"".join(member.store.freeze().chunks())
        for at in range(len(whole)):
            for flip in (1, 0x80, 0xFF):
                damaged = bytearray(whole)
                damaged[at] ^= flip
                try:
                    read_chunks([bytes(damaged)])
                except BadState:
                    continue

    def test_a_snapshot_of_a_later_version_is_refused_by_name(self) -> None:
        chunks = list(KeyValueStore().freeze().chunks())
        later = chunks[0].replace(b"\x96\x00\x02", b"\x96\x00\x03")
        with pytest.raises(BadState, match="version 3"):
            KeyValueStore().restore([later, *chunks[1:]])
