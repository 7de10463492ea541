"""Raft's promises, held against what the members do, at every step (paper, figure 3; thesis, chapter 3).

Everything is incremental: an entry is looked at when it is written, synced, committed and applied, a
leader when it is elected, a state at every so many entries. What is kept is what the cluster as a whole
has promised so far; no member's log is ever read through.

- election safety: a term has one leader;
- log matching: an index and a term name one entry, and one entry before it;
- commitment: what a leader commits is durable on a majority of each half of its configuration, and ends
  with an entry of its own term (5.4.2);
- leader completeness: a leader has every entry that was committed in an earlier term;
- state machine safety: all members apply the same entry at an index, and come to the same state by it;
- no committed entry is lost: a committed index never holds another entry;
- no promise is forgotten: a member comes back with every entry and vote that it had made durable.
"""

from collections.abc import Callable, Iterable

from faultlab.raft.configuration import Configuration
from faultlab.raft.messages import Entry, HardState, SnapshotMeta
from faultlab.raft.storage.store import Recovered

Report = Callable[[str, str], None]
"""Called with a member and what it broke."""


class Committed:
    """One committed index: which entry, and the term in which it was committed."""

    __slots__ = ("by_term", "term")

    def __init__(self, term: int, by_term: int) -> None:
        self.term = term
        self.by_term = by_term


class ShadowLog:
    """The terms of one process's log, as it was told to write them."""

    __slots__ = ("base", "base_term", "last", "terms")

    def __init__(self, base: int, base_term: int, entries: Iterable[Entry]) -> None:
        self.base = base
        """The last index that a snapshot stands for."""
        self.base_term = base_term
        self.terms: dict[int, int] = {}
        self.last = base
        for entry in entries:
            self.terms[entry.index] = entry.term
            self.last = entry.index

    def term(self, index: int) -> int | None:
        """None where the log does not say."""
        return self.base_term if index == self.base else self.terms.get(index)

    def write(self, entries: list[Entry]) -> None:
        """Entries, in place of whatever stood at the first one's index and behind."""
        terms = self.terms
        for index in range(entries[0].index, self.last + 1):
            terms.pop(index, None)
        for entry in entries:
            terms[entry.index] = entry.term
        self.last = entries[-1].index

    def install(self, index: int, term: int) -> None:
        """The log begins anew behind a snapshot."""
        self.terms.clear()
        self.base = self.last = index
        self.base_term = term


class Durable:
    """What one member has made durable, and so promised to know for ever."""

    __slots__ = ("log", "state", "uuid")

    def __init__(self, log: ShadowLog, state: HardState, uuid: str) -> None:
        self.log = log
        self.state = state
        self.uuid = uuid


class Safety:
    """What the cluster has promised so far."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._leaders: dict[int, str] = {}
        self._entries: dict[tuple[int, int], tuple[int, bytes, int]] = {}
        self._durable: dict[tuple[int, int], dict[str, None]] = {}
        self._members: dict[str, Durable] = {}
        self._committed: dict[int, Committed] = {}
        self._states: dict[int, str] = {}
        self.commit = 0
        """The highest index that anybody has committed."""

    def elected(self, member: str, term: int, log: ShadowLog) -> None:
        """A member has won a term."""
        first = self._leaders.setdefault(term, member)
        if first != member:
            self._report(member, f"election safety: {first} and {member} both lead term {term}")
        for index in range(log.base + 1, self.commit + 1):
            entry = self._committed.get(index)
            if entry is not None and entry.by_term < term and log.term(index) != entry.term:
                self._report(
                    member,
                    f"leader completeness: {member} leads term {term} and has, at index {index},"
                    f" {_what(log.term(index))}, where one of term {entry.term} was committed in term"
                    f" {entry.by_term}",
                )
                return

    def written(self, member: str, entries: list[Entry], log: ShadowLog) -> None:
        """Entries go into a member's log, in place of whatever stood at the first one's index and behind."""
        known = self._entries
        if entries[0].index <= log.last:
            self._replaced(member, entries, log)
        log.write(entries)
        before = log.term(entries[0].index - 1) or 0
        for entry in entries:
            index, term = entry.index, entry.term
            found = known.setdefault((index, term), (before, entry.data, entry.kind))
            if found[0] != before or found[1] != entry.data or found[2] != entry.kind:
                self._report(
                    member,
                    f"log matching: entry {index} of term {term} at {member} differs from that of another"
                    f" member, or follows one of term {before} in place of {found[0]}",
                )
            before = term

    def started(self, member: str, recovered: Recovered) -> ShadowLog:
        """A member begins with this; it must be no less than what it had promised in an earlier life.

        A member whose data is another (its uuid) has promised something and does not know: it must not be
        heard, see `revived`.
        """
        snapshot, entries = recovered.snapshot, recovered.entries
        log = ShadowLog(snapshot.index, snapshot.term, entries)
        before = self._members.get(member)
        if before is not None and before.uuid == recovered.uuid:
            self._compare(member, before, log, recovered.hard_state)
        shadow = ShadowLog(snapshot.index, snapshot.term, entries)
        self._members[member] = Durable(shadow, recovered.hard_state, recovered.uuid)
        self._note_durable(member, entries)
        return log

    def revived(self, member: str) -> None:
        """Others hear a member whose data is another than before."""
        self._report(member, f"promise: {member} is heard again, and its data is not what it had promised by")

    def synced(
        self, member: str, entries: list[Entry], state: HardState | None, installed: SnapshotMeta | None
    ) -> None:
        """A group is durable at a member: a snapshot that its log begins with, entries, a hard state."""
        durable = self._members[member]
        if installed is not None:
            durable.log.install(installed.index, installed.term)
        if entries:
            # Each Ready's entries replace what was behind them; one group may hold several Readys'.
            for entry in entries:
                durable.log.write([entry])
            self._note_durable(member, entries)
        if state is not None:
            durable.state = state

    def _note_durable(self, member: str, entries: list[Entry]) -> None:
        durable = self._durable
        for entry in entries:
            durable.setdefault((entry.index, entry.term), {})[member] = None

    def _compare(self, member: str, before: Durable, log: ShadowLog, state: HardState) -> None:
        """A shorter log is right only where what is gone was replaced, which shows in the term at its end."""
        old = before.state
        if state.term < old.term or (state.term == old.term and old.vote not in (None, state.vote)):
            self._report(
                member,
                f"promise: {member} comes back with term {state.term}, vote {state.vote}, and had made"
                f" durable term {old.term}, vote {old.vote}",
            )
        last = log.last
        is_cut = last < before.log.base or before.log.term(last) == log.term(last)
        if last < before.log.last and is_cut:
            self._report(
                member,
                f"promise: {member} comes back with entries up to {last}, and had made those up to"
                f" {before.log.last} durable",
            )

    def committed(
        self, member: str, commit: int, term: int, log: ShadowLog, configurations: tuple[Configuration, ...]
    ) -> None:
        """A member's commit index has moved, in its `term`; of a leader `configurations` are those of before
        and after (one of them counted), else there are none."""
        if commit > self.commit:
            if configurations and not any(self._is_durable(commit, log, c) for c in configurations):
                self._report(
                    member,
                    f"commitment: {member}, leader of term {term}, commits entry {commit}, durable only"
                    f" on {', '.join(sorted(self._holders(commit, log))) or 'nobody'} of"
                    f" {configurations[-1].describe()}",
                )
            if configurations and log.term(commit) not in (None, term):
                self._report(
                    member,
                    f"commitment: {member}, leader of term {term}, commits entry {commit} of term"
                    f" {log.term(commit)} by counting, which another leader may still replace",
                )
            for index in range(self.commit + 1, commit + 1):
                entry_term = log.term(index)
                if entry_term is not None:
                    self._committed[index] = Committed(entry_term, term)
            self.commit = commit

    def installed(self, member: str, snapshot: SnapshotMeta, last_index: int, log: ShadowLog) -> None:
        """A snapshot takes the place of a log that contradicts it or ends before it; `last_index`: where
        the member's log ends now, without what follows in the same Ready."""
        log.install(snapshot.index, snapshot.term)
        if last_index > snapshot.index:
            self._report(
                member,
                f"log matching: {member} keeps entries {snapshot.index + 1} to {last_index} behind a snapshot"
                f" up to entry {snapshot.index} of term {snapshot.term}, which they did not follow",
            )

    def applied(self, member: str, entries: list[Entry]) -> None:
        """A member applies committed entries."""
        for entry in entries:
            chosen = self._committed.get(entry.index)
            if chosen is None:
                continue
            if chosen.term != entry.term:
                self._report(
                    member,
                    f"state machine safety: {member} applies, at index {entry.index}, an entry of term"
                    f" {entry.term}, where one of term {chosen.term} was committed",
                )
                return

    def state(self, member: str, index: int, fingerprint: str) -> None:
        """A member's whole state after an index."""
        if self._states.setdefault(index, fingerprint) != fingerprint:
            self._report(
                member,
                f"state machine safety: after entry {index} the state of {member} differs from another's,"
                " though the entries are the same",
            )

    def _replaced(self, member: str, entries: list[Entry], log: ShadowLog) -> None:
        new_terms = {entry.index: entry.term for entry in entries}
        for index in range(entries[0].index, log.last + 1):
            chosen = self._committed.get(index)
            if chosen is not None and log.term(index) == chosen.term != new_terms.get(index):
                self._report(
                    member,
                    f"no committed entry is lost: {member} gives up entry {index} of term {chosen.term}",
                )
                return

    def _holders(self, index: int, log: ShadowLog) -> dict[str, None]:
        term = log.term(index)
        return {} if term is None else self._durable.get((index, term), {})

    def _is_durable(self, index: int, log: ShadowLog, configuration: Configuration) -> bool:
        holders = self._holders(index, log)
        halves = [configuration.voters, configuration.outgoing]
        # Not by raft/quorum.py, which is under test: with one wrong majority for both nobody would notice.
        return all(sum(voter in holders for voter in half) > len(half) // 2 for half in halves if half)


def _what(term: int | None) -> str:
    return "nothing" if term is None else f"an entry of term {term}"
