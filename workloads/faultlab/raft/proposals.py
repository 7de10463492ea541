"""Writes that this member proposed and that somebody waits for.

What a client is told, and why it is never wrong:

- its result, once the entry applied at the proposal's index has the proposal's term;
- `-NOTLEADER`, definite, once an entry of another term is applied there: an index is decided once, so the
  proposal will never be (paper, 5.3, log matching);
- `-UNKNOWN` once a bounded time has passed: another leader may still commit it, or not.

Losing leadership alone decides nothing, so it answers nobody.
"""

from collections.abc import Sequence

import msgspec

from faultlab.runtime.resp.encoder import Result, error_line
from faultlab.runtime.resp.handler import Slot

MAX_PROPOSALS = 65_536
"""Waiting at once; a batch that would go beyond is refused with -BUSY."""

REPLACED = error_line(
    "NOTLEADER the write lost its place in the log to another leader's entry; nothing happened"
)
OUTCOME_UNKNOWN = error_line("UNKNOWN the write was not decided in time; it may or may not happen")


class Proposal(msgspec.Struct, gc=False):
    """One write at one index. `older` waits for the same index, proposed in an earlier term."""

    term: int
    slot: Slot
    deadline_s: float
    older: "Proposal | None" = None


class Proposals:
    """The proposals of one member, by index."""

    def __init__(self, member: str) -> None:
        self._member = member
        self._by_index: dict[int, Proposal] = {}

    def __len__(self) -> int:
        return len(self._by_index)

    def add(self, first_index: int, term: int, slots: Sequence[Slot], deadline_s: float) -> None:
        """One batch, as `Raft.propose` placed it."""
        by_index = self._by_index
        for index, slot in enumerate(slots, first_index):
            by_index[index] = Proposal(term, slot, deadline_s, by_index.pop(index, None))

    def applied(self, index: int, term: int, result: Result) -> None:
        """The entry at `index` is decided: it has `term`, and applying it gave `result`."""
        proposal = self._by_index.pop(index, None)
        while proposal is not None:
            if proposal.term == term:
                proposal.slot.resolve(result, self._member, term)
            else:
                proposal.slot.resolve(REPLACED, None, None)
            proposal = proposal.older

    def expire(self, now_s: float) -> int:
        """Tells those whose time is up that the outcome is unknown; how many."""
        late = [index for index, proposal in self._by_index.items() if proposal.deadline_s <= now_s]
        for index in late:
            proposal: Proposal | None = self._by_index.pop(index)
            while proposal is not None:
                proposal.slot.resolve(OUTCOME_UNKNOWN, None, None)
                proposal = proposal.older
        return len(late)

    def abandon(self) -> None:
        """The process ends: everybody learns that the outcome is unknown."""
        self.expire(float("inf"))
