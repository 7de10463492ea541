"""What this package raises, one tree: catch `RaftError` to catch them all."""


class RaftError(Exception):
    """Anything that the Raft package refuses."""


class NotLeader(RaftError):
    """This member does not lead, so nothing happened; `leader` is whom it follows, None if unknown."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(
            f"this member does not lead; ask {leader}" if leader else "this member knows no leader; try again"
        )
        self.leader = leader


class Busy(RaftError):
    """A bound is reached (uncommitted bytes, waiting reads), so nothing happened; try again later."""


class MalformedMessage(RaftError):
    """Bytes or a message from a peer that no correct member sends; drop it, close its connection."""


class BadState(RaftError):
    """What this member has contradicts itself, or its leader contradicts what is committed: it must end.

    At a start its data is as good as lost (EXIT_DATA)."""


class UnsuitableTarget(RaftError):
    """The leadership cannot be handed over to this member; nothing happened."""
