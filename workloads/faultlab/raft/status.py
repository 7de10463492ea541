"""What a member says of itself: `/status`, INFO, and the numbers of `/metrics`."""

from collections.abc import Iterable

from faultlab import __version__
from faultlab.contract.member import ConfigurationStatus, MemberIdentity, RaftStatus

from .configuration import NodeId, name_of
from .core import Raft
from .node import RaftNode
from .storage.store import Storage


def configuration_status(core: Raft) -> ConfigurationStatus:
    """The configuration in force, by name and id."""
    configuration = core.configuration
    return ConfigurationStatus(
        core.configuration_index,
        _identities(configuration.voters),
        _identities(configuration.outgoing),
        _identities(configuration.learners),
    )


def _identities(ids: Iterable[NodeId]) -> tuple[MemberIdentity, ...]:
    return tuple(MemberIdentity(name_of(member_id), member_id) for member_id in ids)


def not_ready(node: RaftNode, replay_until: int) -> str | None:
    """Why a member cannot serve; None when it can. `replay_until`: what was committed when it started."""
    core, applied = node.core, node.store.applied_index
    if applied < replay_until:
        return f"replaying the log: {applied} of {replay_until} entries applied"
    if not core.configuration.voters:
        return "waiting for the leader to add this member"
    if node.member_id not in core.configuration.members:
        return "this member was removed from the cluster"
    if core.leader is None:
        return "no leader is known"
    if node.snapshots.loading:
        return "loading a snapshot"
    return None


def status_of(
    node: RaftNode, storage: Storage, cluster: str, started_at: str, reason: str | None
) -> RaftStatus:
    """The document of `/status`; `reason`: why the member is not ready."""
    core = node.core
    return RaftStatus(
        system="raft",
        cluster=cluster,
        member=name_of(node.member_id),
        role=core.role,
        term=core.term,
        leader=None if core.leader is None else name_of(core.leader),
        commit_index=core.commit,
        applied_index=node.store.applied_index,
        last_index=core.last_index,
        peers={name_of(peer): progress for peer, progress in core.progress.items()},
        version=__version__,
        started_at=started_at,
        ready=reason is None,
        id=node.member_id,
        configuration=configuration_status(core),
        snapshot_index=core.snapshot.index,
        first_index=core.first_index,
        log_bytes=storage.log_bytes,
    )


def info_of(status: RaftStatus, keys: int) -> dict[str, dict[str, object]]:
    """The sections of INFO."""
    return {
        "Raft": {
            "cluster": status.cluster,
            "member": status.member,
            "member_id": status.id,
            "raft_role": status.role,
            "term": status.term,
            "leader": status.leader or "",
            "commit_index": status.commit_index,
            "applied_index": status.applied_index,
            "last_index": status.last_index,
            "first_index": status.first_index,
            "snapshot_index": status.snapshot_index,
        },
        "Replication": {"role": "master" if status.role == "leader" else "slave"},
        "Keyspace": {"db0": f"keys={keys},expires=0,avg_ttl=0"},
    }


def gauges_of(node: RaftNode, storage: Storage) -> dict[str, tuple[str, float]]:
    """What goes up and down."""
    core = node.core
    configuration = core.configuration
    return {
        "raft_is_leader": ("1 when this member leads.", float(core.role == "leader")),
        "raft_term": ("The current term.", core.term),
        "raft_commit_index": ("The highest committed index known.", core.commit),
        "raft_applied_index": ("The highest index applied.", node.store.applied_index),
        "raft_first_index": ("The first entry that the log still has.", core.first_index),
        "raft_last_index": ("The end of the log.", core.last_index),
        "raft_snapshot_index": ("The last entry in the latest snapshot.", core.snapshot.index),
        "raft_voters": ("Members with a vote.", len(configuration.voters)),
        "raft_learners": ("Members without one.", len(configuration.learners)),
        "raft_configuration_joint": (
            "1 while the voters change (joint consensus).",
            float(configuration.joint),
        ),
        "kv_keys": ("Keys held.", len(node.store)),
        "kv_sessions": ("Client sessions open.", node.store.sessions),
        "waiting_writes": ("Writes proposed and undecided.", len(node.proposals)),
        "waiting_reads": ("Reads under way.", node.reads.reads),
        "waiting_forwards": ("Requests passed on to the leader.", len(node.forwarder)),
        "wal_bytes": ("Length of the write-ahead log.", storage.log_bytes),
        "wal_pending_bytes": ("Gathered for the disk while it is busy.", storage.pending_bytes),
        "wal_bytes_behind_snapshot": (
            "Written since the latest snapshot; one is due at snapshotLogBytes.",
            storage.bytes_behind_snapshot,
        ),
    }


def counters_of(node: RaftNode) -> dict[str, tuple[str, float]]:
    """What only goes up."""
    return {
        "wal_syncs": ("Group commits since the start.", node.syncs),
        "snapshots_taken": ("Snapshots written since the start.", node.snapshots.taken),
        "snapshots_installed": ("Snapshots of a leader's loaded since the start.", node.snapshots.installed),
        "snapshots_refused": (
            "Snapshots of a leader's that were not what it had announced, since the start.",
            node.core.snapshots_refused,
        ),
        "snapshot_parts_sent": ("Parts of snapshots sent to followers.", node.snapshots.parts_sent),
    }
