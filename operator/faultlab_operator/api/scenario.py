"""Scenario: systems, a load, a timeline of faults, and what must hold; it runs once to a verdict."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from faultlab_operator.api.base import (
    AGE,
    API_VERSION,
    Column,
    Model,
    Name,
    Resource,
    Rule,
    ShownName,
    Status,
    Text,
    Time,
)
from faultlab_operator.api.duration import Duration, cel_pattern
from faultlab_operator.api.loadtest import LoadTestSpec
from faultlab_operator.api.networkpartition import NetworkPartitionSpec
from faultlab_operator.api.raftcluster import RaftClusterSpec

PhaseName = Literal[
    "Pending", "Deploy", "Healthy", "WarmUp", "Fault", "Heal", "Settle", "FinalRead", "Check", "Done"
]
VerdictName = Literal["Pass", "Fail", "Inconclusive"]
CheckName = Literal[
    "linearizable",
    "promisedReads",
    "leaderChanged",
    "leaderUnchanged",
    "failover",
    "unavailability",
    "invariants",
]
AnomalyName = Literal["nonLinearizable", "electionSafety", "logMatching", "invariantViolated"]


class ManifestMetadata(Model):
    """Metadata of a manifest inside a scenario; the namespace is the scenario's."""

    name: Name
    labels: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(default=None, max_length=16)
    annotations: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(default=None, max_length=16)


class SystemManifest(Model):
    """A whole manifest of a system, which the scenario creates and owns."""

    api_version: Literal["faultlab.dev/v1alpha1"] = Field(default=API_VERSION)
    kind: Literal["RaftCluster"]
    metadata: ManifestMetadata
    spec: RaftClusterSpec = Field(default_factory=RaftClusterSpec)


class WarmUp(Model):
    """The load before the first fault; a run that never came up to speed does not count."""

    duration: Duration = Field(default=Duration("5s"))
    minimum_operations_per_second: float = Field(
        default=0, ge=0, le=100_000, description="Less than this over the warm-up ends the run Inconclusive."
    )


class Fault(Model):
    """A fault inline; it becomes a resource of its own, named after the scenario."""

    kind: Literal["NetworkPartition"]
    spec: NetworkPartitionSpec


class TimelineEntry(Model):
    """One fault and when it begins."""

    at: Duration = Field(description="Counted from the end of the warm-up.")
    fault: Fault


class Expectation(Model):
    """One thing that must hold for the run to be a Pass: a check, or an anomaly that must occur."""

    check: CheckName | None = Field(
        default=None,
        description="linearizable: the clients' history. promisedReads: the history, judged by what the "
        "system's "
        "`reads` promises. leaderChanged, leaderUnchanged: over the faults. failover, unavailability: at "
        "most "
        "`atMost`. invariants: election safety and log matching in the members' own events.",
    )
    anomaly: AnomalyName | None = Field(
        default=None, description="Must be found; if it is not, the run is not a Pass."
    )
    at_most: Duration | None = Field(default=None, description="Of failover and unavailability: the bound.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.check) != has(self.anomaly)",
            "write either check: NAME (such as linearizable) or anomaly: NAME (such as nonLinearizable), "
            "one of "
            "the two",
        ),
        Rule(
            "!has(self.check) || !(self.check in ['failover', 'unavailability']) || has(self.atMost)",
            "this check needs a bound: write for example {check: failover, atMost: 1500ms}",
        ),
        Rule(
            "!has(self.atMost) || (has(self.check) && self.check in ['failover', 'unavailability'])",
            "atMost belongs to check: failover and check: unavailability: leave it out here",
        ),
    )


class ScenarioSpec(Model):
    """One experiment. Immutable: a scenario runs once."""

    title: str = Field(default="", max_length=200, description="One line about what happens.")
    description: str = Field(default="", max_length=4096)
    systems: Annotated[list[SystemManifest], Field(min_length=1, max_length=4)] = Field(
        description="Whole manifests; created, owned and removed by the scenario."
    )
    load: LoadTestSpec
    warm_up: WarmUp = Field(default_factory=WarmUp)
    timeline: Annotated[list[TimelineEntry], Field(max_length=16)] = Field(default_factory=list)
    settle: Duration = Field(
        default=Duration("5s"), description="Load goes on this long after the last heal."
    )
    expect: Annotated[list[Expectation], Field(min_length=1, max_length=16)]
    cleanup: Literal["always", "onPass", "never"] = Field(
        default="always", description="When to remove systems and load after the verdict."
    )
    timeout: Duration = Field(
        default=Duration("3m"), description="A run that takes longer is healed and ends Inconclusive."
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**53 - 1,
        description="Of all choices that the run makes by chance; drawn and reported when left out.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self == oldSelf",
            "a scenario runs once and its spec cannot be changed: delete it and apply it again, or use "
            "`faultlab run`, which replaces a finished one",
            transition=True,
        ),
        Rule(
            "self.systems.exists(s, s.kind == self.load.system.kind && s.metadata.name == "
            "self.load.system.name)",
            "the load is for a system that the scenario does not have: write in load.system the kind and "
            "name "
            "of one of systems",
        ),
        Rule(
            "!has(self.load.record) || self.load.record",
            "a scenario is judged by the history of its load: leave load.record out, or write record: true",
        ),
        Rule(
            "self.systems.all(s, self.systems.filter(o, o.metadata.name == s.metadata.name).size() == 1)",
            "two systems have the same name: write a different metadata.name in each of systems",
        ),
        Rule(
            "self.timeline.all(e, !has(e.fault.spec.selector) || !has(e.fault.spec.selector.system) || "
            "self.systems.exists(s, s.metadata.name == e.fault.spec.selector.system.name))",
            "a fault is for a system that the scenario does not have: write in fault.spec.selector.system "
            "the "
            "name of one of systems, or leave selector out",
        ),
        Rule(
            f"!self.timeout.matches('{cel_pattern()}') || "
            "(duration(self.timeout) >= duration('10s') && duration(self.timeout) <= duration('2h'))",
            "timeout must be at least 10s and at most 2h: write for example timeout: 3m",
        ),
        Rule(
            "self.timeline.all(e, !has(e.fault.spec.topology.size) || self.systems.all(s, "
            "e.fault.spec.topology.size * 2 < s.spec.replicas))",
            "topology.size is not a minority of the members: write a size of less than half of replicas, "
            "such as 2 of 5",
        ),
        Rule(
            f"!self.timeout.matches('{cel_pattern()}') || self.timeline.all(e, "
            f"!e.at.matches('{cel_pattern()}') || !e.fault.spec.duration.matches('{cel_pattern()}') || "
            "duration(e.at) + duration(e.fault.spec.duration) < duration(self.timeout))",
            "the timeline is longer than timeout: write a longer timeout, or faults that begin sooner or end "
            "earlier",
        ),
        Rule(
            "!self.expect.exists(e, has(e.check) && e.check == 'linearizable') || "
            "!self.systems.exists(s, s.metadata.name == self.load.system.name && s.spec.reads == 'stale')",
            "a system with reads: stale does not promise linearizable reads: write check: promisedReads "
            "(or anomaly: nonLinearizable, to show that they are not)",
        ),
    )


class ScenarioPhase(Model):
    """A phase that began, and ended or goes on."""

    name: PhaseName
    started_at: Time
    ended_at: Time | None = None


class ScenarioFault(Model):
    """One fault of the timeline and the resource that it became."""

    name: ShownName
    kind: str = Field(max_length=63)
    injected_at: Time | None = None
    observed_at: Time | None = None
    healed_at: Time | None = None
    heal_verified_at: Time | None = None
    cut_off: list[ShownName] = Field(default_factory=list, max_length=16)


class ScenarioCheck(Model):
    """One check's result in short; verdict.json has the evidence."""

    name: str = Field(max_length=63)
    result: Literal["pass", "fail", "unknown"]
    message: Text = ""
    operations: int | None = Field(default=None, ge=0)
    time_ms: float | None = Field(default=None, ge=0)


class ScenarioStatus(Status):
    """How far the run is, and what came out."""

    phase: PhaseName | None = None
    phases: list[ScenarioPhase] = Field(default_factory=list, max_length=16)
    verdict: VerdictName | None = None
    reasons: list[Text] = Field(default_factory=list, max_length=32)
    broken_off: bool | None = Field(
        default=None, description="Something went wrong; the rest is only healed, collected and judged."
    )
    seed: int | None = None
    run_id: str | None = Field(
        default=None, max_length=63, description="Of the operator process that runs it."
    )
    started_at: Time | None = None
    ended_at: Time | None = None
    failover_ms: float | None = Field(default=None, ge=0)
    failover: str | None = Field(default=None, max_length=16, description="As `kubectl get` shows it: 812ms.")
    unavailability_ms: float | None = Field(default=None, ge=0)
    leader_before: str | None = Field(default=None, max_length=63)
    leader_after: str | None = Field(default=None, max_length=63)
    operations: dict[str, int] | None = Field(default=None, max_length=8, description="ok, fail and info.")
    faults: list[ScenarioFault] = Field(default_factory=list, max_length=32)
    checks: list[ScenarioCheck] = Field(default_factory=list, max_length=32)
    artifacts: list[Annotated[str, Field(max_length=128)]] = Field(default_factory=list, max_length=16)
    report_url: Text | None = Field(
        default=None,
        alias="reportURL",
        description="The finished run's report, where browsers reach it.",
    )


class Scenario(Resource):
    """Systems under load and faults, run once to a verdict."""

    kind_name: ClassVar[str] = "Scenario"
    plural: ClassVar[str] = "scenarios"
    short_names: ClassVar[tuple[str, ...]] = ("scn",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Phase", ".status.phase"),
        Column("Verdict", ".status.verdict"),
        Column(
            "Failover", ".status.failover", description="From the last write of the old leader to the next."
        ),
        Column("Title", ".spec.title", wide=True),
        Column("Report", ".status.reportURL", wide=True),
        AGE,
    )
    root_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.metadata.name) <= 45",
            "metadata.name is too long for the faults' names to be derived from it: write at most 45 "
            "characters",
        ),
    )

    spec: ScenarioSpec
    status: ScenarioStatus = Field(default_factory=ScenarioStatus)
