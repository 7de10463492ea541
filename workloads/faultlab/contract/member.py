"""How one member of a RaftCluster is configured, and the documents its admin port takes and gives.

The configuration is one JSON file, the same for all members of a cluster (a ConfigMap); which of
them a process is, it learns from `--member`, else from the environment variable `POD_NAME`.
"""

from typing import Literal

import msgspec

BreakRule = Literal["staleReads", "commitWithoutMajority", "forgetVote"]
"""Guards that a test of the lab may switch off in the core; see docs/systems/raft.md."""

RaftRole = Literal["follower", "preCandidate", "candidate", "leader"]


ReadMode = Literal["linearizable", "lease", "follower", "stale"]

EXIT_DATA = 65
"""EX_DATAERR of sysexits.h: what a member had promised is not in its data directory, or is damaged there.

Starting it again does not help: it has to be replaced (`POST /membership` with `replace`)."""

KEY_HEADER = "X-Faultlab-Key"
"""On POSTs to the admin port of a cluster with a peer key: the hex digits of
HMAC-SHA256(key, "admin " + cluster)."""


class PeerAddress(msgspec.Struct, frozen=True, rename="camel"):
    """One member's name and the host name or address under which the others and clients reach it."""

    name: str
    host: str
    client_port: int = 7000
    peer_port: int = 7001
    admin_port: int = 7002
    id: str | None = None
    """`name#N` of a member that joined a running cluster; None of one that was there from the beginning,
    whose id is its name."""


class RaftConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The settings of one Raft cluster, as `faultlab-node raft --config FILE` reads them."""

    cluster: str
    members: tuple[PeerAddress, ...]
    """The voters of a new cluster. Of a cluster that runs, its log knows better: here a member finds its
    own ports and id, and no more."""
    data_dir: str = "/data"
    """Each id has a directory of its own in it."""
    initial_state: Literal["new", "existing"] = "new"
    """`existing`: the cluster has served already, so a member whose directory is empty has lost its data
    and must not start under its old id."""
    election_timeout_ms: int = 500
    """A follower waits between this and twice this, at random, before it campaigns."""
    heartbeat_interval_ms: int = 50
    reads: ReadMode = "linearizable"
    """`linearizable`: the leader asks a majority first (ReadIndex). `lease`: it answers at once while its
    lease holds, which takes clocks that drift by less than `max_clock_drift_percent`. `follower`: any
    member answers, after asking the leader how far it must have applied. `stale`: any member, at once."""
    on_follower: Literal["forward", "redirect"] = "forward"
    pre_vote: bool = True
    check_quorum: bool = True
    max_clock_drift_percent: int = 10
    """How much faster one member's clock may run than another's; shortens the leases of `reads: lease`."""
    priorities: dict[str, int] = {}
    """By name: a leader hands over to a member of higher priority that has caught up. 0 for who is not
    named."""
    snapshot_log_bytes: int = 64 * 1024 * 1024
    """The log grows by that much between two snapshots; what they hold is dropped from it."""
    max_uncommitted_bytes: int = 64 * 1024 * 1024
    """Writes proposed and not decided, beyond which more are refused with -BUSY."""
    peer_key_file: str | None = None
    """The key by which members prove themselves to each other, and callers of POST to members; None: no
    proof is asked for."""
    client_auth_file: str | None = None
    """Users, passwords and what each may read and write; None: all is open."""
    break_rule: str | None = None
    """Tests of the lab only: a guard that is switched off, one of raft/rules.py."""
    seed: int | None = None
    """Seeds the election jitter; None draws one from the system and logs it."""


class PeerProgress(msgspec.Struct, frozen=True, rename="camel"):
    """What a leader knows of one follower."""

    match_index: int
    in_flight: int
    state: Literal["probe", "replicate", "snapshot"]
    learner: bool = False
    """It has no vote yet."""


class MemberIdentity(msgspec.Struct, frozen=True, rename="camel"):
    """A member of a configuration: the name that people know, and the id that is never used again."""

    name: str
    id: str


class ConfigurationStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Who decides, as the latest configuration in a member's log says, committed or not."""

    index: int
    """Of its entry; 0 for the configuration that the cluster began with."""
    voters: tuple[MemberIdentity, ...] = ()
    outgoing: tuple[MemberIdentity, ...] = ()
    """Not empty while a change is under way (joint consensus): the voters before it, whose majority
    is needed as well."""
    learners: tuple[MemberIdentity, ...] = ()


class RaftStatus(msgspec.Struct, frozen=True, rename="camel"):
    """`GET /status`: one member as it sees itself."""

    system: Literal["raft"]
    cluster: str
    member: str
    role: RaftRole
    term: int
    leader: str | None
    commit_index: int
    applied_index: int
    last_index: int
    peers: dict[str, PeerProgress]
    """Other members' progress; empty unless this member leads."""
    version: str
    started_at: str
    """RFC 3339, UTC."""
    ready: bool = False
    """The log is replayed and a leader is known: what `/readyz` answers."""
    id: str = ""
    """`member`, or `member#N` of one that joined later."""
    configuration: ConfigurationStatus | None = None
    snapshot_index: int = 0
    """The last entry in the latest snapshot; 0 without one."""
    first_index: int = 1
    """Of the log; entries before it are in the snapshot only."""
    log_bytes: int = 0
    """Of the log on disk."""


class TransferRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`POST /transfer`: the leader hands over to the member named, or to the best there is."""

    to: str | None = None


class MembershipRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`POST /membership`: who shall be voters in the end, all of them. May be repeated at will."""

    members: tuple[PeerAddress, ...]
    """By name; an `id` in them is ignored."""
    replace: tuple[str, ...] = ()
    """Ids (of a member from the beginning: its name) that have lost their data: each is removed first, then
    its name is added under a new id. An id that is not in the configuration any more needs nothing, so
    repeating the request after it was done does nothing."""


class TransferReply(msgspec.Struct, frozen=True, rename="camel"):
    """What `POST /transfer` answers: 200 once another leads; 409 where this member does not lead, or did not
    get rid of it in time."""

    leader: str | None
    """Whom this member follows now; on 409 the one to ask."""


class MembershipReply(msgspec.Struct, frozen=True, rename="camel"):
    """What `POST /membership` answers: 200 once it is reached, 202 while it is under way."""

    reached: bool
    configuration: ConfigurationStatus
    waiting_for: str | None = None
    """What it waits for, in words."""
    committed: bool = False
    """`configuration` stays in the log. One that is not committed may be lost with its leader, and the ids
    that it gave with it: no member may start under them yet."""


class MemberEvent(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One line of `GET /events` (the `data:` of a server-sent event whose `id:` is `id`).

    Types and what else they carry:

    - `Started`: a process began; ids start again at 1, `incarnation` tells processes apart.
    - `RoleChanged`: `role`, `term`.
    - `LeaderLost`: a follower stopped hearing its leader, or a leader its quorum (`detail` says which).
    - `ElectionStarted`: this member campaigns in `term`; `detail` is `preVote` or `vote`.
    - `LeaderElected`: this member has won `term`.
    - `LeaderKnown`: this member follows `leader` in `term`.
    - `Applied`: a checkpoint of the applied log: `index`, `term` of that entry, and `digest`, a hash
      chained over every applied entry, so that two members that applied different logs differ
      at every later equal index.
    - `ConfigurationChanged`: a configuration of `index` counts from now on; `detail` says who is in it.
    - `SnapshotTaken`: everything up to `index` is in a snapshot, on disk.
    - `SnapshotInstalled`: this member went on from a snapshot of its leader's that ends at `index`.
    - `SnapshotRefused`: what `leader` sent as its snapshot up to `index` is not what it had announced; this
      member asks for it again.
    - `LeadershipTransfer`: the leader hands over to `leader`; `detail` says why, or that it failed.
    - `InvariantViolated`: the core found its own promise broken; `detail` says which and where.
    """

    id: int
    member: str
    type: Literal[
        "Started",
        "RoleChanged",
        "LeaderLost",
        "ElectionStarted",
        "LeaderElected",
        "LeaderKnown",
        "Applied",
        "ConfigurationChanged",
        "SnapshotTaken",
        "SnapshotInstalled",
        "SnapshotRefused",
        "LeadershipTransfer",
        "InvariantViolated",
    ]
    term: int
    wall_time: str
    """RFC 3339, UTC, with microseconds."""
    monotonic_ns: int
    incarnation: str
    role: RaftRole | None = None
    leader: str | None = None
    index: int | None = None
    digest: str | None = None
    detail: str | None = None
