"""A run's directory as a good run leaves it, made by a tiny model of a cluster; tests spoil it."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from faultlab.contract.run import CutEdge, FaultRecord, PhaseRecord, RunEvent
from faultlab.history.events import Event, write_events
from faultlab_operator.scenario.record import EVENTS_FILE, HISTORY_FILE, RunRecord, write_record
from faultlab_operator.scenario.times import from_wall_ns, wall_ns

START = wall_ns("2026-01-31T12:00:00.000000Z")
MEMBERS = tuple(f"demo-{index}" for index in range(5))
MS = 1_000_000
S = 1000 * MS

CUT_AT = 10 * S
HEALED_AT = 20 * S
FAILOVER_AT = CUT_AT + 700 * MS
LOAD_ENDS = 26 * S

SPEC: dict[str, Any] = {
    "title": "The leader is cut off with a minority",
    "systems": [{"kind": "RaftCluster", "metadata": {"name": "demo"}, "spec": {"replicas": 5}}],
    "load": {"system": {"kind": "RaftCluster", "name": "demo"}, "users": 20},
    "warmUp": {"duration": "5s", "minimumOperationsPerSecond": 200},
    "timeline": [
        {
            "at": "5s",
            "fault": {
                "kind": "NetworkPartition",
                "spec": {"topology": {"type": "minority", "size": 2}, "duration": "10s"},
            },
        }
    ],
    "settle": "5s",
    "expect": [
        {"check": "linearizable"},
        {"check": "leaderChanged"},
        {"check": "failover", "atMost": "1500ms"},
    ],
}


@dataclass
class Sample:
    """Everything that a run's directory holds; change what you like, then `write`."""

    record: RunRecord
    history: list[Event] = field(default_factory=list)
    events: list[RunEvent] = field(default_factory=list)

    def write(self, directory: Path) -> Path:
        write_record(directory, self.record)
        self.history.sort(key=lambda event: event.time)
        write_events(directory / HISTORY_FILE, self.history)
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in self.events)
        (directory / EVENTS_FILE).write_bytes(lines)
        return directory

    def change(self, **fields: Any) -> None:
        self.record = msgspec.structs.replace(self.record, **fields)

    def say(self, type_: str, at_ns: int, **fields: Any) -> None:
        """One more event."""
        fields.setdefault("source", "member")
        fields.setdefault("message", f"{type_} {fields.get('subject', '')}")
        self.events.append(
            RunEvent(
                id=len(self.events) + 1,
                wall_time=from_wall_ns(START + at_ns),
                type=type_,
                time_ns=at_ns,
                **fields,
            )
        )


def sample(seed: int = 1, rate: int = 400) -> Sample:
    """demo-0 leads term 3, is cut off with demo-1, demo-2 takes over in term 4."""
    made = Sample(_record())
    _members_say(made)
    _clients(made, random.Random(seed), rate)
    return made


def at(nanoseconds: int) -> str:
    return from_wall_ns(START + nanoseconds)


def _record() -> RunRecord:
    cut = ("demo-0", "demo-1")
    rest = MEMBERS[2:]
    edges = [CutEdge(a, b) for a in cut for b in rest] + [CutEdge(b, a) for a in cut for b in rest]
    fault = FaultRecord(
        "raft-fault-1", "NetworkPartition", at(CUT_AT), at(CUT_AT + 120 * MS), at(HEALED_AT),
        at(HEALED_AT + 80 * MS), cut, tuple(edges),
    )  # fmt: skip
    marks = [
        ("Deploy", -4 * S), ("Healthy", -3 * S), ("WarmUp", -S), ("Fault", 5 * S), ("Heal", HEALED_AT),
        ("Settle", HEALED_AT + 100 * MS), ("FinalRead", LOAD_ENDS), ("Check", LOAD_ENDS + S),
    ]  # fmt: skip
    ends = [start for _, start in marks[1:]] + [LOAD_ENDS + 2 * S]
    phases = tuple(
        PhaseRecord(name, at(start), at(end))  # type: ignore[arg-type]
        for (name, start), end in zip(marks, ends, strict=True)
    )
    return RunRecord(
        scenario="raft-leader-partition",
        namespace="faultlab",
        world="embedded",
        seed=42,
        started_at=at(-4 * S),
        spec=SPEC,
        phases=phases,
        faults=(fault,),
        members={"demo": MEMBERS},
        client_sides={"raft-fault-1": (cut, rest)},
        load_started_at=at(0),
        history_complete=True,
        versions={"faultlab": "0.1.0", "python": "3.11.2"},
    )


def _members_say(made: Sample) -> None:
    for index, member in enumerate(MEMBERS):
        made.say("Started", -3 * S + index * MS, subject=member, term=0, incarnation="a")
        made.say("RoleChanged", -3 * S + 10 * MS, subject=member, term=0, role="follower", incarnation="a")
    _elected(made, "demo-0", 3, -2 * S)
    made.say("Injected", CUT_AT, source="fault", subject="raft-fault-1", message="cuts off demo-0, demo-1")
    made.say("EffectObserved", CUT_AT + 120 * MS, source="fault", subject="raft-fault-1")
    for member in MEMBERS[2:]:
        made.say("LeaderLost", CUT_AT + 560 * MS, subject=member, term=3, incarnation="a")
    _elected(made, "demo-2", 4, FAILOVER_AT - 60 * MS)
    made.say("RoleChanged", CUT_AT + 900 * MS, subject="demo-0", term=3, role="follower", incarnation="a")
    made.say("Healed", HEALED_AT, source="fault", subject="raft-fault-1")
    made.say("HealVerified", HEALED_AT + 80 * MS, source="fault", subject="raft-fault-1")
    for index in range(100, 1000, 100):
        for member in MEMBERS:
            made.say(
                "Applied", index * 20 * MS, subject=member, term=3, index=index, digest=f"d{index}",
                incarnation="a",
            )  # fmt: skip


def _elected(made: Sample, member: str, term: int, at_ns: int) -> None:
    made.say("ElectionStarted", at_ns - 30 * MS, subject=member, term=term, detail="vote", incarnation="a")
    made.say("RoleChanged", at_ns - 30 * MS, subject=member, term=term, role="candidate", incarnation="a")
    made.say("LeaderElected", at_ns, subject=member, term=term, incarnation="a")
    made.say("RoleChanged", at_ns, subject=member, term=term, role="leader", incarnation="a")


def _clients(made: Sample, chance: random.Random, rate: int) -> None:
    """Twenty clients pinned to members; an operation takes effect the moment it starts."""
    store: dict[str, int] = {}
    process_of = list(range(20))
    next_process = 20
    for value, (start, due, user) in enumerate(_starts(rate), start=1):
        member = MEMBERS[user % 5]
        key = f"k{min(int(chance.paretovariate(1.0)), 50)}"
        f = chance.choices(["read", "write", "cas"], [40, 45, 15])[0]
        asked: Any = {"read": None, "write": value, "cas": [store.get(key, 0), value]}[f]
        process = process_of[user]
        made.history.append(Event(process, "invoke", f, key, asked, start, member=member, intended=due))
        end = _ends(user, start)
        if end is not None:
            process_of[user], next_process = next_process, next_process + 1
            made.history.append(Event(process, "info", f, key, asked, end, member=member, error="timeout"))
            continue
        end = start + int(min(chance.lognormvariate(1.2, 0.4), 20.0) * MS)
        completed = Event(process, "ok", f, key, asked, end, member=member, term=3 if start < CUT_AT else 4)
        made.history.append(completed)
        if f == "read":
            completed.value = store.get(key)
        elif f == "write" or store.get(key) == asked[0]:
            store[key] = value
        else:
            completed.type = "fail"


def _starts(rate: int) -> list[tuple[int, int, int]]:
    """(start, due, user) in order: a client that still waits starts its next operation late, or never."""
    free_at = [0] * 20
    starts = []
    for number in range(rate * LOAD_ENDS // S):
        due, user = number * S // rate, number % 20
        start = max(due, free_at[user])
        if start - due > S:
            continue
        free_at[user] = _ends(user, start) or start + 25 * MS
        starts.append((start, due, user))
    return sorted(starts)


def _ends(user: int, start: int) -> int | None:
    """When an operation that the cut swallows is given up; None for one that is answered."""
    if user % 5 in (0, 1) and CUT_AT <= start < HEALED_AT:
        return start + S
    return FAILOVER_AT + user * MS if CUT_AT <= start < FAILOVER_AT else None
