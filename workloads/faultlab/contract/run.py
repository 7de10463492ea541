"""What a scenario's run shows while it goes on and leaves behind: events, the live view, the verdict.

`events.ndjson` holds one `RunEvent` a line; the operator serves a `LiveView`; `verdict.json` is a
`VerdictDocument`.
"""

from typing import Any, Literal

import msgspec

from faultlab.contract.load import LoadStatus
from faultlab.contract.member import RaftStatus

Phase = Literal[
    "Pending", "Deploy", "Healthy", "WarmUp", "Fault", "Heal", "Settle", "FinalRead", "Check", "Done"
]
Verdict = Literal["Pass", "Fail", "Inconclusive"]


class RunEvent(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One thing that happened: in a member, to a fault, or in the scenario itself."""

    id: int
    """Counts up from 1 within the run."""
    wall_time: str
    """RFC 3339, UTC, with microseconds."""
    source: Literal["member", "fault", "scenario", "load"]
    type: str
    """A member's event type (`LeaderElected`, ...); for faults `Selected`, `Injected`,
    `EffectObserved`, `Healed`, `HealVerified`, `Interrupted`, `Refused`; for a scenario
    `PhaseChanged`, `Verdict`, ..."""
    message: str
    """One line that a person understands without the rest."""
    time_ns: int | None = None
    """On the history's clock, once the load has started; may be negative before it."""
    subject: str | None = None
    """Member, fault or phase."""
    term: int | None = None
    role: str | None = None
    leader: str | None = None
    index: int | None = None
    digest: str | None = None
    incarnation: str | None = None
    detail: str | None = None


class PhaseRecord(msgspec.Struct, frozen=True, rename="camel"):
    name: Phase
    started_at: str
    ended_at: str | None = None


class CutEdge(msgspec.Struct, frozen=True, rename="camel"):
    """`target` does not hear `source`. Member names, or the load pod's."""

    source: str
    target: str


class MemberView(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    reachable: bool
    """Whether the lab reached the admin port at the last poll."""
    status: RaftStatus | None = None


class LiveView(msgspec.Struct, frozen=True, rename="camel"):
    """`GET /v1/namespaces/NS/scenarios/NAME/live?after=EVENT_ID` of the operator's own HTTP server."""

    name: str
    namespace: str
    phase: Phase
    phases: tuple[PhaseRecord, ...]
    elapsed_ms: int
    expected_ms: int
    """What the whole run will take if nothing goes wrong; for a progress bar."""
    members: tuple[MemberView, ...]
    cut_edges: tuple[CutEdge, ...]
    load: LoadStatus | None
    events: tuple[RunEvent, ...]
    """Those with an id greater than `after`, at most 500, oldest first."""
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    """Names to fetch under `/v1/namespaces/NS/scenarios/NAME/artifacts/FILE` once Done."""


class OperationCounts(msgspec.Struct, frozen=True):
    ok: int
    fail: int
    info: int


class FaultRecord(msgspec.Struct, frozen=True, rename="camel"):
    """One fault with its proofs. Times are RFC 3339 or None where it did not happen."""

    name: str
    kind: str
    injected_at: str | None
    observed_at: str | None
    healed_at: str | None
    heal_verified_at: str | None
    cut_off: tuple[str, ...] = ()
    """Members on the cut-off side."""
    cut_edges: tuple[CutEdge, ...] = ()
    message: str = ""


class CheckRecord(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    result: Literal["pass", "fail", "unknown"]
    operations: int
    time_ms: float
    message: str = ""
    evidence: Any = None
    """What proves a `fail`: the guilty operations or events, in full."""


class VerdictDocument(msgspec.Struct, frozen=True, rename="camel"):
    """`verdict.json`."""

    verdict: Verdict
    reasons: tuple[str, ...]
    scenario: str
    namespace: str
    world: str
    """`embedded`, `kubernetes` or `simulation`; a label given by whoever installed the operator."""
    seed: int
    operations: OperationCounts
    failover_ms: float | None
    unavailability_ms: float | None
    leader_before: str | None
    leader_after: str | None
    terms: tuple[int, ...]
    """Every term in which a leader was elected during the run, in order."""
    faults: tuple[FaultRecord, ...]
    checks: tuple[CheckRecord, ...]
    started_at: str
    ended_at: str
    versions: dict[str, str]
    settings: Any = None
    """The scenario's spec as it ran."""


class Headline(msgspec.Struct, frozen=True, rename="camel"):
    """What people ask of a finished run first; None where it was not measured."""

    failover_ms: float | None = None
    unavailability_ms: float | None = None
    operations: OperationCounts | None = None
    leader_before: str | None = None
    leader_after: str | None = None


class RunSummary(msgspec.Struct, frozen=True, rename="camel"):
    """One run as `GET /v1/runs` and `GET /v1/runs/UID` of the operator's own HTTP server show it."""

    namespace: str
    name: str
    """The scenario's; several runs may have had it."""
    uid: str
    started_at: str
    title: str = ""
    expected_ms: int = 0
    phase: Phase | Literal["Abandoned"] = "Pending"
    """Abandoned: its Scenario was deleted before there was a verdict."""
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    ended_at: str | None = None
    """None as long as the run is under way."""
    headline: Headline | None = None
    files: dict[str, int] = {}
    """The artifacts that are there, with their sizes in bytes."""


class RunList(msgspec.Struct, frozen=True):
    """`GET /v1/runs[?namespace=NS][&name=NAME]`."""

    runs: tuple[RunSummary, ...]
    """Oldest first, by `startedAt`."""
