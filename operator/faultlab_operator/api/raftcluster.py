"""RaftCluster: a replicated key-value store under Raft, one pod a member."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from faultlab_operator.api.base import (
    AGE,
    Column,
    Model,
    Resource,
    Rule,
    ShownName,
    Status,
    worded,
)
from faultlab_operator.api.duration import Duration, cel_pattern

_QUANTITY = r"^[0-9]{1,12}(\.[0-9]{1,3})?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"

Quantity = Annotated[
    str, worded(_QUANTITY, "write an amount that is not negative, such as 256Mi, 50m or 2", 20)
]
"""A Kubernetes quantity, `256Mi` or `50m`."""


_PART = "[a-z0-9]+([._-]+[a-z0-9]+)*"
_IMAGE = (
    rf"^([a-zA-Z0-9.-]+(:[0-9]+)?/)?{_PART}(/{_PART})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)

Image = Annotated[
    str,
    worded(
        _IMAGE, "write an image as REPOSITORY:TAG or REPOSITORY@sha256:DIGEST: faultlab/faultlab:0.1.0", 512
    ),
]
"""A container image's name; Kubernetes itself takes almost anything here and fails at the pull."""


def _written(*names: str) -> str:
    """CEL: each of these durations is well-formed (another rule says so when it is not)."""
    return " && ".join(f"self.{name}.matches('{cel_pattern()}')" for name in names)


class Storage(Model):
    """The volume under a member's log."""

    size: Quantity = Field(default="256Mi", description="Size of each member's volume claim.")
    storage_class_name: str | None = Field(
        default=None, max_length=253, description="The cluster's default class when left out."
    )


class Snapshot(Model):
    """When a member puts what it holds into a snapshot and drops the log before it."""

    log_size: Quantity | None = Field(
        default=None,
        description="How much the log grows between two snapshots; 64Mi when left out, or an eighth of "
        "storage.size where that is less.",
    )


SecretName = Annotated[
    str,
    worded(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "write the name of a Secret in this namespace, such as demo-users",
        253,
    ),
]


class ClientAuth(Model):
    """Who may use the store: users, their passwords and what each may read and write."""

    secret_name: SecretName = Field(
        description="A Secret in this namespace whose key `users.json` says "
        '{"users": [{"name", "passwordSha256", "rules": [{"prefix", "access": "read|write|all"}]}]}.'
    )


class ResourceList(Model):
    """Amounts of what a container uses."""

    cpu: Quantity | None = None
    memory: Quantity | None = None


class Resources(Model):
    """Requests and limits of one container, as in a pod's spec."""

    requests: ResourceList = Field(
        default_factory=lambda: ResourceList(cpu="50m", memory="64Mi"), description="What is set aside."
    )
    limits: ResourceList = Field(
        default_factory=lambda: ResourceList(memory="256Mi"), description="What may not be exceeded."
    )


class Testing(Model):
    """For tests of the lab itself: makes a system break its promise, so that the lab is seen to notice."""

    break_rule: Literal["staleReads", "commitWithoutMajority", "forgetVote"] | None = Field(
        default=None,
        description="Switches one guard of the protocol off. staleReads: a leader answers reads without "
        "asking a majority (no ReadIndex). commitWithoutMajority: an entry counts as committed once the "
        "leader has it. forgetVote: a member grants any vote in its current term.",
    )


class RaftClusterSpec(Model):
    """What is wanted of a Raft cluster."""

    replicas: int = Field(
        default=3,
        ge=1,
        le=9,
        description="Members: an odd number from 1 to 9. May be changed while the cluster serves: new "
        "members learn the log before they vote, and a leader that is to go hands over first.",
    )
    election_timeout: Duration = Field(
        default=Duration("500ms"),
        description="A follower that hears no leader campaigns after this to twice this, at random.",
    )
    heartbeat_interval: Duration = Field(
        default=Duration("50ms"),
        description="How often a leader without news sends to its followers; at most a third of "
        "electionTimeout.",
    )
    reads: Literal["linearizable", "lease", "follower", "stale"] = Field(
        default="linearizable",
        description="linearizable: reads see every write that was acknowledged before them; the leader asks "
        "a majority first. lease: the same promise, kept by the leader's clock instead of by asking, as long "
        "as no clock drifts by more than maxClockDriftPercent. follower: the same promise, answered by "
        "whichever member is asked, once it has applied what the leader had committed. stale: any member "
        "answers from memory, and the history is judged by what that promises.",
    )
    max_clock_drift_percent: int = Field(
        default=10,
        ge=0,
        le=50,
        description="By how much members' clocks may run apart; leases of `reads: lease` are shorter by it.",
    )
    on_follower: Literal["forward", "redirect"] = Field(
        default="forward",
        description="What a follower does with a client's command: forward it to the leader, or answer "
        "-MOVED with the leader's address.",
    )
    pre_vote: bool = Field(
        default=True, description="Ask whether an election could be won before holding it."
    )
    check_quorum: bool = Field(
        default=True, description="A leader that does not hear a majority for an election timeout steps down."
    )
    leader_priority: dict[str, Annotated[int, Field(ge=0, le=100)]] = Field(
        default_factory=dict,
        max_length=9,
        description="By member name, 0 to 100: a leader hands over to a member of higher priority once that "
        "has caught up. Who is not named has 0.",
    )
    max_uncommitted: Quantity = Field(
        default="64Mi",
        description="Writes that a leader has taken and no majority has yet; beyond it more are refused "
        "with -BUSY.",
    )
    snapshot: Snapshot = Field(default_factory=Snapshot)
    client_auth: ClientAuth | None = Field(
        default=None, description="All clients may do everything when left out."
    )
    image: Image | None = Field(
        default=None,
        description="The members' image; the operator's own default when left out. Another one is rolled "
        "out, one member at a time.",
    )
    storage: Storage = Field(default_factory=Storage)
    resources: Resources = Field(default_factory=Resources)
    testing: Testing | None = Field(
        default=None, description="For tests of the lab itself only; never for a system to rely on."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.replicas % 2 == 1",
            "replicas must be odd: write 1, 3, 5, 7 or 9 (an even number adds a member but tolerates no "
            "further failure)",
        ),
        Rule(
            "self.storage == oldSelf.storage",
            "storage cannot be changed: delete this RaftCluster and create it again with the new storage",
            transition=True,
        ),
        Rule(
            f"!({_written('heartbeatInterval', 'electionTimeout')}) || "
            "duration(self.heartbeatInterval) + duration(self.heartbeatInterval) + "
            "duration(self.heartbeatInterval) <= duration(self.electionTimeout)",
            "heartbeatInterval must be at most a third of electionTimeout, or followers campaign against a "
            "living leader: write for example electionTimeout: 500ms with heartbeatInterval: 50ms",
        ),
        Rule(
            f"!({_written('heartbeatInterval', 'electionTimeout')}) || "
            "(duration(self.heartbeatInterval) >= duration('5ms') && "
            "duration(self.electionTimeout) <= duration('60s'))",
            "heartbeatInterval must be at least 5ms and electionTimeout at most 60s: write for example "
            "electionTimeout: 500ms with heartbeatInterval: 50ms",
        ),
        Rule(
            "self.reads != 'lease' || self.checkQuorum",
            "reads: lease needs checkQuorum: true (a leader without a majority must notice): write "
            "checkQuorum: true, or reads: linearizable",
        ),
        Rule(
            "self.leaderPriority.all(member, member.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?-[0-8]$'))",
            "leaderPriority goes by members' names, which are the cluster's, '-' and a number from 0 to 8: "
            "write for example leaderPriority: {demo-0: 10}",
        ),
    )


class MemberStatus(Model):
    """One member as the operator last saw it."""

    name: ShownName
    id: str | None = Field(
        default=None,
        max_length=96,
        description="Its identity in the configuration, never used again: `name`, or `name#N` of a member "
        "that joined later.",
    )
    part: Literal["voter", "joining", "leaving", "none"] | None = Field(
        default=None,
        description="voter: it decides. joining: it learns the log and has no vote yet. leaving: it still "
        "decides, until the change under way is done. none: it is not in the configuration.",
    )
    reachable: bool = Field(description="Whether the operator reached its admin port at the last poll.")
    ready: bool = Field(default=False, description="Its log is replayed and it knows a leader.")
    role: str | None = Field(default=None, max_length=32)
    term: int | None = Field(default=None, ge=0)
    leader: str | None = Field(default=None, max_length=63, description="Whom it follows.")


class ConfigurationMember(Model):
    """A member of a configuration."""

    name: ShownName
    id: str = Field(max_length=96)


class Configuration(Model):
    """Who decides, as the leader's log says."""

    index: int = Field(
        ge=0, description="Of its entry in the log; 0 for the one that the cluster began with."
    )
    voters: list[ConfigurationMember] = Field(default_factory=list, max_length=16)
    outgoing: list[ConfigurationMember] = Field(
        default_factory=list,
        max_length=16,
        description="While a change is under way: the voters before it, whose majority is needed as well.",
    )
    learners: list[ConfigurationMember] = Field(default_factory=list, max_length=16)
    joint: bool = Field(default=False, description="A change of voters is under way.")


class RaftClusterStatus(Status):
    """What the operator sees of a Raft cluster."""

    replicas: int | None = Field(default=None, ge=0, description="Member pods that exist.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Members that are ready.")
    updated_replicas: int | None = Field(
        default=None, ge=0, description="Members that run what the spec says now."
    )
    ready_members: str | None = Field(
        default=None, max_length=16, description="As `kubectl get` shows it: 5/5."
    )
    selector: str | None = Field(
        default=None, max_length=512, description="Label selector of the member pods."
    )
    leader: str | None = Field(
        default=None, max_length=63, description="The leader of the highest term that a member reports."
    )
    term: int | None = Field(default=None, ge=0, description="The highest term that a member reports.")
    members: list[MemberStatus] = Field(default_factory=list, max_length=16)
    initial_replicas: int | None = Field(
        default=None,
        ge=1,
        le=9,
        description="With how many members the cluster began: those that never started are told so.",
    )
    configuration: Configuration | None = Field(
        default=None, description="The configuration of the last leader that the operator saw."
    )
    voters: int | None = Field(default=None, ge=0, description="Members that decide.")
    learners: int | None = Field(default=None, ge=0, description="Members that are still to learn the log.")


class RaftCluster(Resource):
    """A replicated key-value store under Raft that Redis clients can talk to."""

    kind_name: ClassVar[str] = "RaftCluster"
    plural: ClassVar[str] = "raftclusters"
    short_names: ClassVar[tuple[str, ...]] = ("raft", "rafts")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "Ready", '.status.conditions[?(@.type=="Ready")].status', description="All members are ready."
        ),
        Column("Leader", ".status.leader", description="The member that leads the highest term."),
        Column("Term", ".status.term", "integer", "The highest term known."),
        Column("Members", ".status.readyMembers", description="Ready members of those wanted."),
        Column("Voters", ".status.voters", "integer", "Members that decide.", wide=True),
        Column("Learners", ".status.learners", "integer", "Members that have no vote yet.", wide=True),
        Column(
            "Membership",
            '.status.conditions[?(@.type=="MembershipSettled")].reason',
            description="What becomes of the members.",
            wide=True,
        ),
        Column(
            "Updated", ".status.updatedReplicas", "integer", "Members that run the current spec.", wide=True
        ),
        Column("Reads", ".spec.reads", description="What reads promise.", wide=True),
        AGE,
    )
    scale: ClassVar[dict[str, str] | None] = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    root_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.metadata.name) <= 52",
            "metadata.name is too long for member names to be derived from it: write at most 52 characters",
        ),
        Rule(
            "!self.metadata.name.endsWith('-load')",
            "a name that ends in -load would collide with a LoadTest's load: write another metadata.name",
        ),
        Rule(
            "!has(self.spec) || !has(self.spec.leaderPriority) || "
            "self.spec.leaderPriority.all(member, member.startsWith(self.metadata.name + '-'))",
            "leaderPriority names a member of another cluster: members are called metadata.name, '-' and a "
            "number",
        ),
    )

    spec: RaftClusterSpec = Field(default_factory=RaftClusterSpec)
    status: RaftClusterStatus = Field(default_factory=RaftClusterStatus)


__all__ = [
    "ClientAuth",
    "Configuration",
    "ConfigurationMember",
    "Image",
    "MemberStatus",
    "Quantity",
    "RaftCluster",
    "RaftClusterSpec",
    "RaftClusterStatus",
    "ResourceList",
    "Resources",
    "SecretName",
    "Snapshot",
    "Storage",
    "Testing",
]
