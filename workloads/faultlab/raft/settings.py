"""From a member's configuration file to the settings of its parts."""

import logging

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.runtime.errors import ConfigError

from .config import CoreConfig
from .configuration import NodeId
from .membership import MAX_MEMBERS, check_addresses
from .rules import RULES, rule_named
from .storage.log_writer import StorageSettings

log = logging.getLogger("faultlab.raft")

TICKS_PER_HEARTBEAT = 5

_MAX_SEGMENT_BYTES = 64 * 1024 * 1024
_MIN_SEGMENT_BYTES = 1024 * 1024
_SEGMENTS_PER_SNAPSHOT = 4
"""Whole segments are dropped behind a snapshot, so the log is longer than asked for by one of them."""


def check_config(config: RaftConfig, member: str) -> PeerAddress:
    """The address of `member`; raises ConfigError for settings that no member could run with."""
    names = [peer.name for peer in config.members]
    if not 1 <= len(names) <= MAX_MEMBERS:
        raise ConfigError(f"members: {len(names)} of them; a cluster has 1 to {MAX_MEMBERS}")
    if len(set(names)) != len(names):
        raise ConfigError(f"members: a name occurs twice in {', '.join(names)}; name each once")
    if member not in names:
        raise ConfigError(
            f"member {member!r} is not among the members ({', '.join(names)}) of the configuration"
        )
    if not config.data_dir:
        raise ConfigError('dataDir is ""; name the directory that holds this member\'s log, such as /data')
    strangers = sorted(config.priorities.keys() - set(names))
    if strangers:
        # No reason to refuse: it may be a member that is still to come, or that has gone.
        log.warning("priorities: no member is called %s (members: %s)", strangers, ", ".join(names))
    for peer in config.members:
        if "#" in peer.name or "/" in peer.name or not peer.name:
            raise ConfigError(f"members: {peer.name!r} is no name; one has neither '#' nor '/'")
        if peer.id is not None and peer.id.partition("#")[0] != peer.name:
            raise ConfigError(f"members: {peer.id!r} is no id of {peer.name}; it is the name, or NAME#INDEX")
    try:
        check_addresses(config.members)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _check_numbers(config)
    if config.break_rule is not None and config.break_rule not in RULES:
        raise ConfigError(f"breakRule is {config.break_rule!r}; it must be one of {', '.join(RULES)}")
    return config.members[names.index(member)]


def _check_numbers(config: RaftConfig) -> None:
    if config.heartbeat_interval_ms < 1:
        raise ConfigError(f"heartbeatIntervalMs is {config.heartbeat_interval_ms}; it must be at least 1")
    if config.election_timeout_ms < 2 * config.heartbeat_interval_ms:
        raise ConfigError(
            f"electionTimeoutMs is {config.election_timeout_ms}; it must be at least twice"
            f" heartbeatIntervalMs ({config.heartbeat_interval_ms})"
        )
    if not 0 <= config.max_clock_drift_percent < 100:
        raise ConfigError(
            f"maxClockDriftPercent is {config.max_clock_drift_percent}; it must be from 0 to 99"
        )
    if config.reads == "lease" and not config.check_quorum:
        raise ConfigError("reads: lease needs checkQuorum: without it a leader cut off would keep its lease")
    for name, value in (
        ("snapshotLogBytes", config.snapshot_log_bytes),
        ("maxUncommittedBytes", config.max_uncommitted_bytes),
    ):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")


def tick_s(config: RaftConfig) -> float:
    """How long a tick is, in seconds."""
    return config.heartbeat_interval_ms / 1000 / TICKS_PER_HEARTBEAT


def core_config(config: RaftConfig, member_id: NodeId) -> CoreConfig:
    """The core's settings."""
    tick = tick_s(config)
    return CoreConfig(
        id=member_id,
        election_ticks=max(TICKS_PER_HEARTBEAT + 1, round(config.election_timeout_ms / 1000 / tick)),
        heartbeat_ticks=TICKS_PER_HEARTBEAT,
        pre_vote=config.pre_vote,
        check_quorum=config.check_quorum,
        votes_unconfigured=False,
        lease=config.reads == "lease",
        tick_ns=round(tick * 1e9),
        max_clock_drift_percent=config.max_clock_drift_percent,
        priorities=config.priorities,
        max_uncommitted_bytes=config.max_uncommitted_bytes,
        break_rule=rule_named(config.break_rule),
    )


def storage_settings(config: RaftConfig) -> StorageSettings:
    """The storage's settings."""
    segment = config.snapshot_log_bytes // _SEGMENTS_PER_SNAPSHOT
    return StorageSettings(segment_bytes=min(max(segment, _MIN_SEGMENT_BYTES), _MAX_SEGMENT_BYTES))
