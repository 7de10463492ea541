"""Puts a member together on a simulated machine, as raft/assembly.py does it in a process.

The parts are the same; what differs is what they are given: the machine's disk and clocks, chance from the
seed, small segments, chunks and batches so that a short run fills many, and windows to see through.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from faultlab.contract.member import RaftConfig
from faultlab.raft.config import CoreConfig
from faultlab.raft.configuration import Configuration
from faultlab.raft.host import Host
from faultlab.raft.kv import KeyValueStore
from faultlab.raft.node import RaftNode
from faultlab.raft.storage.log_writer import StorageSettings
from faultlab.raft.storage.store import Storage, open_storage

from .machine import Process
from .observer import Seen
from .options import Options
from .watching import STATE_STRIDE, SimWatch, WatchedRaft, WatchedStorage

if TYPE_CHECKING:
    from faultlab.raft.rules import Rule

    from .world import SimWorld


def host(world: SimWorld, process: Process, config: RaftConfig, bootstrap: Configuration | None) -> Seen:
    """Starts the member in a process; raises StorageError or OSError when its disk does not let it."""
    machine, options, rule = process.machine, world.options, world.break_rule
    rng = world.streams.stream(f"member/{machine.name}/{process.life}")
    storage, recovered = open_storage(
        machine.files,
        Path(config.data_dir),
        config.cluster,
        process.id,
        bootstrap,
        rule,
        StorageSettings(options.disk.segment_bytes, 0),
        lambda: f"{rng.getrandbits(128):032x}",
    )
    store = KeyValueStore(rule, own_clock_ms=machine.clock.wall_ms)
    if recovered.snapshot.index:
        store.restore(storage.read_snapshot(recovered.snapshot))
        world.marks.reach("restarted from a snapshot")
    if recovered.truncated_bytes:
        world.marks.reach("restarted with a torn tail")
    log = world.safety.started(process.id, recovered)
    core = WatchedRaft(
        core_config(options, process.id, rule),
        recovered.hard_state,
        recovered.snapshot,
        recovered.entries,
        rng,
        machine.clock.monotonic_ns,
    )
    seen = Seen(process, log, core.configuration)
    core.observer, core.seen = world.observer, seen
    watch = SimWatch(machine.name, machine.clock, options.tick_ns / 1e9, f"{machine.name}/{process.life}")
    watch.observer, watch.seen, watch.keeps_events = world.observer, seen, world.keep_events
    watch.stride = STATE_STRIDE
    process.watch = watch
    process.uuid = recovered.uuid
    process.known = dict(recovered.known_peers)
    watched = cast("Storage", WatchedStorage(storage, world.observer, seen))
    process.node = RaftNode(
        config,
        process.id,
        core,
        store,
        Host(process, machine.clock, watched, process.disk, process.peers),
        watch,
        lambda error: world.broke(process, error),
    )
    process.learned = process.node.learned
    return seen


def core_config(options: Options, member_id: str, rule: Rule | None) -> CoreConfig:
    """The core's settings, from the run's options."""
    return CoreConfig(
        id=member_id,
        election_ticks=options.election_ticks,
        heartbeat_ticks=options.heartbeat_ticks,
        pre_vote=options.pre_vote,
        check_quorum=options.check_quorum,
        votes_unconfigured=False,
        lease=options.reads == "lease",
        tick_ns=options.tick_ns,
        max_clock_drift_percent=options.max_clock_drift_percent,
        priorities=options.priorities,
        max_inflight_messages=options.max_inflight_messages,
        max_inflight_bytes=options.max_inflight_messages * options.max_entries_bytes_per_message,
        snapshot_chunk_bytes=options.snapshot_chunk_bytes,
        max_entries_bytes_per_message=options.max_entries_bytes_per_message,
        max_uncommitted_bytes=options.max_uncommitted_bytes,
        max_committed_per_ready=options.max_committed_per_ready,
        break_rule=rule,
    )
