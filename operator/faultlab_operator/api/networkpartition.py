"""NetworkPartition: members of a system stop hearing each other for a while."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from faultlab_operator.api.base import (
    AGE,
    Column,
    MemberName,
    Model,
    Name,
    Resource,
    Rule,
    ShownName,
    Status,
    SystemReference,
    Text,
    Time,
    worded,
)
from faultlab_operator.api.duration import Duration, cel_pattern

TopologyType = Literal["isolate", "halves", "minority", "bridge", "majoritiesRing", "oneWay", "groups"]
Role = Literal["leader", "follower", "followers", "any"]
Direction = Literal["both", "in", "out"]
ClientSide = Literal["both", "majority", "minority"]

Members = Annotated[list[MemberName], Field(min_length=1, max_length=9)]

LabelValue = Annotated[
    str,
    worded("^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", "write a label's value, such as demo", 63),
]


class Selector(Model):
    """Whom the fault may touch: one system, or pods by label."""

    system: SystemReference | None = Field(default=None, description="All members of this system.")
    label_selectors: dict[str, LabelValue] | None = Field(
        default=None, max_length=8, description="Member pods that carry all of these labels."
    )
    namespaces: list[Name] | None = Field(
        default=None,
        max_length=4,
        description="Where to look for labelSelectors; the fault's own by default.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.system) != has(self.labelSelectors)",
            "write either system: {kind: RaftCluster, name: NAME} or labelSelectors, one of the two",
        ),
        Rule(
            "!has(self.namespaces) || has(self.labelSelectors)",
            "namespaces are where labelSelectors look, and a system is in the fault's own: write "
            "labelSelectors, or leave namespaces out",
        ),
    )


class Side(Model):
    """Some members: by the role that they have, or by name."""

    role: Role | None = Field(
        default=None,
        description="leader; follower: one of the followers, chosen by the seed; followers: all of them; "
        "any: "
        "one member, chosen by the seed. Resolved when the fault begins.",
    )
    members: Members | None = Field(default=None, description="Members' names, such as demo-0.")
    follow: bool = Field(
        default=False, description="Resolve the role anew as it moves, instead of pinning it at the start."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.role) != has(self.members)",
            "write either role: leader (or follower, followers, any) or members: [NAME, ...], one of the two",
        ),
        Rule(
            "!self.follow || has(self.role)",
            "follow: true needs a role that can move: write role: leader, or leave follow out",
        ),
    )


class Topology(Model):
    """Who stops hearing whom, when both are members."""

    type: TopologyType = Field(
        description="isolate: each of `with` is cut off from every other member. halves: two sides, the "
        "smaller one around `with`. minority: `size` members around `with` against the rest. bridge: two "
        "halves that only one member (`with`) hears both of. majoritiesRing: every member hears a majority, "
        "no two the same. oneWay: packets between `with` and `towards` pass in one direction only. groups: "
        "members hear only their own of `groups`.",
    )
    with_: Side | None = Field(
        default=None, alias="with", description="Who is on the cut-off side; any member when left out."
    )
    towards: Side | None = Field(
        default=None, description="Of oneWay: the other side; every other member when left out."
    )
    size: int | None = Field(
        default=None,
        ge=1,
        le=8,
        description="Of minority: members on the cut-off side; the largest minority when left out.",
    )
    groups: Annotated[list[Members], Field(min_length=2, max_length=9)] | None = Field(
        default=None,
        description="Of groups: members that go on hearing each other, such as [[demo-0], [demo-1]].",
    )
    direction: Direction | None = Field(
        default=None,
        description="What is cut, as the cut-off side sees it: both, in (it no longer hears) or out (it is "
        "no "
        "longer heard). both when left out; out for oneWay.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type != 'groups' || has(self.groups)",
            "type: groups needs them: write for example groups: [[demo-0, demo-1], [demo-2, demo-3, demo-4]]",
        ),
        Rule(
            "self.type == 'groups' || !has(self.groups)",
            "groups belong to type: groups: write that, or leave groups out",
        ),
        Rule(
            "!has(self.groups) || self.groups.all(g, g.all(m, "
            "self.groups.filter(h, h.exists(o, o == m)).size() == 1 && g.filter(o, o == m).size() == 1))",
            "a member cannot be cut off from itself: write each member once, in one of the groups only",
        ),
        Rule(
            "self.type == 'minority' || !has(self.size)",
            "size belongs to type: minority: write that, or leave size out",
        ),
        Rule(
            "!(self.type in ['groups', 'majoritiesRing']) || !has(self.with)",
            "groups and majoritiesRing have no cut-off side: leave with out",
        ),
        Rule(
            "self.type == 'oneWay' || !has(self.towards)",
            "towards belongs to type: oneWay: write that, or leave towards out",
        ),
        Rule(
            "!has(self.towards) || !self.towards.follow",
            "towards is found anew whenever with is: write follow: true in with, and leave it out of towards",
        ),
        Rule(
            "!(self.type in ['isolate', 'oneWay']) || has(self.with)",
            "isolate and oneWay need to know whom: write for example with: {role: leader} or "
            "with: {members: [demo-0]}",
        ),
        Rule(
            "self.type != 'oneWay' || !has(self.direction) || self.direction != 'both'",
            "oneWay cuts one direction only: write direction: in (with no longer hears) or direction: out "
            "(with is no longer heard)",
        ),
        Rule(
            "!(self.type in ['bridge', 'majoritiesRing', 'groups']) || !has(self.direction) || "
            "self.direction == 'both'",
            "direction is as the cut-off side sees it, and bridge, majoritiesRing and groups have none: "
            "leave direction out",
        ),
        Rule(
            "!has(self.with) || !has(self.towards) || !has(self.with.members) || "
            "!has(self.towards.members) || "
            "!self.with.members.exists(m, self.towards.members.exists(o, o == m))",
            "a member cannot be cut off from itself: write different members in with and towards",
        ),
        Rule(
            "!has(self.with) || !has(self.towards) || !has(self.with.role) || !has(self.towards.role) || "
            "self.with.role != self.towards.role",
            "a member cannot be cut off from itself: write different roles in with and towards, such as "
            "with: {role: leader} and towards: {role: followers}",
        ),
    )


class NetworkPartitionSpec(Model):
    """What is to be cut, between whom, and for how long."""

    selector: Selector | None = Field(
        default=None, description="Whom the fault may touch. Inside a Scenario: its system, when left out."
    )
    topology: Topology
    clients: ClientSide = Field(
        default="both",
        description="Which side load clients reach: both, or only the majority's or the minority's members.",
    )
    duration: Duration = Field(description="How long the cut stands; more than 0s and at most 1h.")
    max_affected: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="Refuse to begin if more members than this would be on the cut-off side.",
    )
    dry_run: bool = Field(default=False, description="Only say in the status what would be cut.")
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**53 - 1,
        description="Chooses where several members fit; random when left out.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!self.duration.matches('{cel_pattern()}') || "
            "(duration(self.duration) > duration('0s') && duration(self.duration) <= duration('1h'))",
            "duration must be more than 0s and at most 1h: write for example duration: 10s",
        ),
        Rule(
            "!has(self.maxAffected) || !has(self.topology.size) || self.topology.size <= self.maxAffected",
            "topology.size is more than maxAffected allows: write a smaller size or a larger maxAffected",
        ),
    )


class Cut(Model):
    """`target` does not hear `source`."""

    source: str = Field(max_length=63)
    target: str = Field(max_length=63)


class NetworkPartitionStatus(Status):
    """What was chosen, what was done, and what proves it.

    Conditions: Selected, Injected, EffectObserved, Healed, HealVerified.
    """

    cut: str | None = Field(
        default=None,
        max_length=512,
        description="In a word, as `kubectl get` shows it: demo-0,demo-1 | demo-2,...",
    )
    namespace: str | None = Field(
        default=None, max_length=63, description="Where the members and load pods are."
    )
    cut_off: list[ShownName] = Field(
        default_factory=list, max_length=16, description="Members on the cut-off side."
    )
    cut_edges: list[Cut] = Field(default_factory=list, max_length=512)
    leader_at_injection: str | None = Field(default=None, max_length=63)
    seed: int | None = Field(default=None, description="That was used to choose.")
    injected_at: Time | None = Field(default=None, description="All nodes have applied it.")
    observed_at: Time | None = Field(default=None, description="Probes proved that the cut edges are cut.")
    heals_at: Time | None = Field(default=None, description="When the cut is to end.")
    healed_at: Time | None = Field(default=None, description="Nothing of it is applied anywhere any more.")
    heal_verified_at: Time | None = Field(default=None, description="Probes proved that packets pass again.")
    message: Text | None = None


class NetworkPartition(Resource):
    """Members of a system that stop hearing each other for a while."""

    kind_name: ClassVar[str] = "NetworkPartition"
    plural: ClassVar[str] = "networkpartitions"
    short_names: ClassVar[tuple[str, ...]] = ("partition", "partitions")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Cut", ".status.cut", description="Who is cut off from whom."),
        Column("Injected", '.status.conditions[?(@.type=="Injected")].status'),
        Column("Healed", '.status.conditions[?(@.type=="Healed")].status'),
        Column("Duration", ".spec.duration", wide=True),
        AGE,
    )
    root_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.spec.selector)",
            "a partition needs to know whose network it cuts: write "
            "spec.selector: {system: {kind: RaftCluster, name: NAME}}",
        ),
        Rule(
            "self.spec == oldSelf.spec",
            "a partition cannot be changed once it exists: delete it (which heals it) and create another",
            transition=True,
        ),
    )

    spec: NetworkPartitionSpec
    status: NetworkPartitionStatus = Field(default_factory=NetworkPartitionStatus)
