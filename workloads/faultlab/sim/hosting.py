"""A member on a simulated machine: raft/assembly.py puts it together, as in a process.

What differs is what it is given: the machine's disk and clocks, chance from the seed, small segments,
chunks and batches so that a short run fills many, and windows to see through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from faultlab.contract.member import RaftConfig
from faultlab.raft.assembly import assemble
from faultlab.raft.config import CoreConfig
from faultlab.raft.host import Host
from faultlab.raft.identity import Identity
from faultlab.raft.node import RaftNode
from faultlab.raft.settings import core_config
from faultlab.raft.storage.log_writer import StorageSettings
from faultlab.raft.storage.store import Storage

from .machine import Process
from .observer import Seen
from .options import Options
from .watching import STATE_STRIDE, SimWatch, WatchedRaft, WatchedStorage

if TYPE_CHECKING:
    from .world import SimWorld


def host(world: SimWorld, process: Process, config: RaftConfig, identity: Identity) -> Seen:
    """Starts the member in a process; raises StorageError or OSError when its disk does not let it."""
    machine, options = process.machine, world.options
    rng = world.streams.stream(f"member/{machine.name}/{process.life}")
    core, store, storage, recovered = assemble(
        config,
        identity,
        machine.files,
        rng,
        machine.clock,
        core_settings=core_settings(config, options, process.id),
        log_settings=StorageSettings(options.disk.segment_bytes, 0),
        make_core=WatchedRaft,
        make_uuid=lambda: f"{rng.getrandbits(128):032x}",
    )
    assert isinstance(core, WatchedRaft)
    if recovered.snapshot.index:
        world.marks.reach("restarted from a snapshot")
    if recovered.truncated_bytes:
        world.marks.reach("restarted with a torn tail")
    log = world.safety.started(process.id, recovered)
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


def core_settings(config: RaftConfig, options: Options, member_id: str) -> CoreConfig:
    """As a process has them, but for the length of a tick and for sizes that a short run comes up to."""
    return msgspec.structs.replace(
        core_config(config, member_id),
        election_ticks=options.election_ticks,
        heartbeat_ticks=options.heartbeat_ticks,
        tick_ns=options.tick_ns,
        max_inflight_messages=options.max_inflight_messages,
        max_inflight_bytes=options.max_inflight_messages * options.max_entries_bytes_per_message,
        snapshot_chunk_bytes=options.snapshot_chunk_bytes,
        max_entries_bytes_per_message=options.max_entries_bytes_per_message,
        max_committed_per_ready=options.max_committed_per_ready,
    )
