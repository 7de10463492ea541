"""A state machine on its own, driven with sessions, for tests."""

from typing import Any

from faultlab.raft.commands import COMMANDS, prepare, stamp
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.messages import Entry
from faultlab.raft.rules import Rule
from faultlab.raft.vetting import is_read


def encoded(*args: str | bytes | int, now_ms: int = 0, user: str = "") -> bytes:
    """A command as the leader puts it into the log."""
    texts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    spec = COMMANDS[texts[0].decode()]
    assert spec.admits(len(texts))
    command = prepare(spec, texts, user)
    assert isinstance(command, bytes), command
    return stamp(command, now_ms)


class Member:
    """Runs commands as if each had been committed at once."""

    def __init__(self, break_rule: Rule | None = None) -> None:
        self.store = KeyValueStore(break_rule, own_clock_ms=lambda: self.own_ms)
        self.now_ms = 1_000_000
        self.own_ms = 1_000_000

    def run(self, *args: str | bytes | int, user: str = "") -> Any:
        command = encoded(*args, now_ms=self.now_ms, user=user)
        if is_read(command):
            return self.store.read(command)
        return self.store.apply(Entry(self.store.applied_index + 1, 1, command))

    def open(self, *options: str | int, user: str = "") -> int:
        session = self.run("SESSION", "OPEN", *options, user=user)
        assert isinstance(session, int)
        return session


def copy_of(store: KeyValueStore, break_rule: Rule | None = None) -> KeyValueStore:
    """A member that got all it knows from a snapshot."""
    copy = KeyValueStore(break_rule)
    copy.restore(list(store.freeze().chunks()))
    return copy
