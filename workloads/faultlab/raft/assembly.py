"""A member's storage, state machine and core, put together from what its data directory holds."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from faultlab.contract.member import RaftConfig
from faultlab.runtime.clock import Clock
from faultlab.runtime.files import FileSystem

from .config import CoreConfig
from .core import Raft
from .identity import Identity, first_configuration
from .kv import KeyValueStore
from .rules import rule_named
from .settings import core_config, storage_settings
from .storage.log_writer import StorageSettings
from .storage.store import Recovered, Storage, open_storage, random_uuid


class Parts(NamedTuple):
    """What a `RaftNode` is made of, and what was found on the way."""

    core: Raft
    store: KeyValueStore
    storage: Storage
    recovered: Recovered


def assemble(
    config: RaftConfig,
    identity: Identity,
    files: FileSystem,
    rng: random.Random,
    clock: Clock,
    *,
    core_settings: CoreConfig | None = None,
    log_settings: StorageSettings | None = None,
    make_core: type[Raft] = Raft,
    make_uuid: Callable[[], str] = random_uuid,
) -> Parts:
    """Opens the data directory and begins where it ends: the state is the latest snapshot's, and the core
    hands out again what was committed behind it.

    What stands behind the star is for the simulator: other sizes than a process has, and a core to look into.
    Raises StorageError, or BadState for a directory whose parts contradict each other.
    """
    rule = rule_named(config.break_rule)
    storage, recovered = open_storage(
        files,
        Path(config.data_dir),
        config.cluster,
        identity.id,
        first_configuration(config, identity),
        rule,
        storage_settings(config) if log_settings is None else log_settings,
        make_uuid,
    )
    store = KeyValueStore(rule, own_clock_ms=clock.wall_ms)
    if recovered.snapshot.index:
        store.restore(storage.read_snapshot(recovered.snapshot))
    core = make_core(
        core_config(config, identity.id) if core_settings is None else core_settings,
        recovered.hard_state,
        recovered.snapshot,
        recovered.entries,
        rng,
        clock.monotonic_ns,
    )
    return Parts(core, store, storage, recovered)
