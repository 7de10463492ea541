"""Coverage marks: the situations that a run of many seeds must have been in, or its green says little."""

from types import MappingProxyType

from .trace import Recorder

MARKS = MappingProxyType(
    {
        "leader deposed with uncommitted entries": "Its log ended beyond its commit index.",
        "leader stepped down without a majority": "A leader heard no majority for an election timeout.",
        "two leaders in different terms": "A leader was elected that an earlier one did not know of yet.",
        "vote split": "Two members campaigned in a term that nobody won.",
        "pre-vote ignored beside a live leader": "A member that hears its leader was asked for a pre-vote.",
        "candidate with a stale log": "A vote was asked for a log that lacks what the voter has.",
        "conflicting entries replaced": "A follower gave up entries for its leader's.",
        "entry of an earlier term committed": "Entries of earlier terms were committed with one of the own.",
        "read lost with the leadership": "A read waited for its round when the leader stepped down.",
        "lease read served": "A leader answered a read on its lease.",
        "lease expired by a pause": "A leader went on after a pause that had outlasted its lease.",
        "follower read served": "A follower was told an index at which its reads are linearizable.",
        "request forwarded": "A follower passed a request on to the leader.",
        "busy": "A client was told to come again later.",
        "transfer completed": "The member that a leader handed over to was elected.",
        "transfer given up": "A transfer was not over within an election timeout.",
        "snapshot taken": "A member made its state durable as a snapshot.",
        "snapshot installed": "A follower went on from its leader's snapshot.",
        "snapshot replaced a longer log": "What it took the place of went on beyond it.",
        "snapshot installed during joint consensus": "As before, with two majorities deciding.",
        "snapshot chunk resumed": "A snapshot went on where another leader or life had left it.",
        "snapshot chunk rejected": "A part of a snapshot began elsewhere than the follower wanted.",
        "restarted from a snapshot": "A process began with a snapshot and the log behind it.",
        "learner added": "A member without a vote joined.",
        "learner promoted": "A learner became a voter.",
        "joint consensus entered": "A leader began a change of voters.",
        "joint consensus left": "A change of voters was completed.",
        "leader lost in joint consensus": "A leader ended or was deposed between the two.",
        "configuration taken back": "A configuration was truncated with the entry that held it.",
        "removed leader stepped down": "A leader left a configuration that it is not in.",
        "single member grown": "A cluster of one voter became larger.",
        "member replaced": "A member that had lost its data was voted in under a new id.",
        "wiped member refused": "A member with an empty disk was not revived under its id.",
        "damaged log refused": "A member with damage before its last synced record did not start.",
        "restarted with a torn tail": "A process cut off what a power cut had left of its last write.",
        "power lost by all": "Every machine lost its power at once.",
        "disk full ended a member": "ENOSPC.",
        "disk error ended a member": "EIO of a write.",
        "failed sync ended a member": "EIO of a sync.",
        "session retried across terms": "One request of a session, committed in two terms, counted once.",
        "session expired": "A client was told that its session is gone.",
        "write retried by a session": "A client sent a write again that may have been applied.",
        "wall clock behind log time": "A leader's wall clock was behind what the log had said.",
    }
)
"""Each mark, and what it means."""


class Marks:
    """Which marks one run has reached, and how often."""

    def __init__(self, recorder: Recorder) -> None:
        """The trace tells of each mark when it is reached first."""
        self._recorder = recorder
        self._counts: dict[str, int] = {}

    def reach(self, mark: str) -> None:
        """Counts it; KeyError for one that is not registered."""
        if mark not in MARKS:
            raise KeyError(f"there is no coverage mark {mark!r}; register it in MARKS")
        count = self._counts.get(mark, 0)
        if not count:
            self._recorder.note("mark", text=mark)
        self._counts[mark] = count + 1

    def counts(self) -> dict[str, int]:
        """In the order of the registry, those that were reached."""
        return {mark: self._counts[mark] for mark in MARKS if mark in self._counts}
