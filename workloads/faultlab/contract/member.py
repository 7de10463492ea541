"""How one member of a RaftCluster is configured, and the documents its admin port serves.

The configuration is one JSON file, the same for all members of a cluster (a ConfigMap); which of
them a process is, it learns from `--member`, else from the environment variable `POD_NAME`.
"""

from typing import Literal

import msgspec

BreakRule = Literal["staleReads", "commitWithoutMajority", "forgetVote"]
"""Guards that a test of the lab may switch off in the core; see docs/systems/raft.md."""

RaftRole = Literal["follower", "preCandidate", "candidate", "leader"]


class PeerAddress(msgspec.Struct, frozen=True, rename="camel"):
    """One member's name and the host name or address under which the others and clients reach it."""

    name: str
    host: str
    client_port: int = 7000
    peer_port: int = 7001
    admin_port: int = 7002


class RaftConfig(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The settings of one Raft cluster, as `faultlab-node raft --config FILE` reads them."""

    cluster: str
    members: tuple[PeerAddress, ...]
    data_dir: str = "/data"
    election_timeout_ms: int = 500
    """A follower waits between this and twice this, at random, before it campaigns."""
    heartbeat_interval_ms: int = 50
    reads: Literal["linearizable", "stale"] = "linearizable"
    on_follower: Literal["forward", "redirect"] = "forward"
    pre_vote: bool = True
    check_quorum: bool = True
    break_rule: BreakRule | None = None
    seed: int | None = None
    """Seeds the election jitter; None draws one from the system and logs it."""


class PeerProgress(msgspec.Struct, frozen=True, rename="camel"):
    """What a leader knows of one follower."""

    match_index: int
    in_flight: int
    state: Literal["probe", "replicate"]


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
