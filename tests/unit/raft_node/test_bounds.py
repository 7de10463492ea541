"""What happens at the bounds: -BUSY and a definite no, never memory without end; and a disk that is full."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from raft_trio import Answer, Trio

from faultlab.raft import node as node_module
from faultlab.raft import requests as requests_module
from faultlab.runtime.resp.handler import Kind

if TYPE_CHECKING:
    from conftest import Cluster

MakeCluster = Callable[..., "Cluster"]


VALUE = b"x" * 100_000


def is_busy(answer: Answer, reason: str) -> bool:
    return bool(answer.told) and str(answer.told[0]).startswith("-BUSY ") and reason in str(answer.told[0])


def test_a_leader_whose_disk_stalls_is_busy_before_it_holds_more_than_its_bound(
    make_trio: Callable[..., Trio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "MAX_PENDING_BYTES", 1_000_000)
    trio = make_trio()
    leader = trio.lead()
    disk = next(trio.disks[name] for name, node in trio.nodes.items() if node is leader)
    disk.stalled = True
    answers = [trio.write(leader, f"k{n}", VALUE) for n in range(40)]
    trio.run(3)
    taken = [answer for answer in answers if answer.told == ["+OK"]]
    assert 10 <= len(taken) <= 13  # the followers have them: they are decided
    assert all(is_busy(answer, "bytes wait for the disk") for answer in answers[len(taken) :])
    disk.stalled = False
    disk.go_on()
    trio.run(3)
    assert trio.write(leader, "after").told == ["+OK"]


def test_a_follower_whose_disk_stalls_costs_the_leader_nothing_and_gets_no_more_than_a_bound(
    make_trio: Callable[..., Trio],
) -> None:
    trio = make_trio()
    leader = trio.lead()
    name, follower = next((name, node) for name, node in trio.nodes.items() if node is not leader)
    trio.disks[name].stalled = True
    for n in range(250):
        assert trio.write(leader, f"k{n}", VALUE).told == ["+OK"]
    behind = follower.core.last_index * len(VALUE)
    assert behind < 20_000_000 < 250 * len(VALUE)
    trio.disks[name].stalled = False
    trio.disks[name].go_on()
    trio.run(50)
    assert follower.store.applied_index == leader.store.applied_index


def test_without_a_majority_writes_are_busy_beyond_max_uncommitted_bytes(
    make_trio: Callable[..., Trio],
) -> None:
    trio = make_trio(max_uncommitted_bytes=1_000_000, check_quorum=False)
    leader = trio.lead()
    trio.down |= {name for name, node in trio.nodes.items() if node is not leader}
    answers = [trio.write(leader, f"k{n}", VALUE) for n in range(40)]
    waiting = [answer for answer in answers if not answer.told]
    assert 9 <= len(waiting) <= 11
    assert all(is_busy(answer, "wait to be committed") for answer in answers[len(waiting) :])
    trio.run(500)
    assert {str(answer.told[0]).split()[0] for answer in waiting} == {"-UNKNOWN"}


def test_a_follower_that_is_down_for_long_costs_no_more_than_the_log_of_one_snapshot(
    make_trio: Callable[..., Trio],
) -> None:
    trio = make_trio(snapshot_log_bytes=1_000_000)
    leader = trio.lead()
    down = next(name for name, node in trio.nodes.items() if node is not leader)
    trio.down.add(down)
    longest = 0
    for n in range(300):
        assert trio.write(leader, f"k{n % 3}", VALUE).told == ["+OK"]
        longest = max(longest, leader.core.last_index - leader.core.first_index + 1)
    assert longest * len(VALUE) < 2_500_000
    trio.down.clear()
    trio.run(100)
    back = trio.nodes[down]
    assert back.snapshots.installed == 1
    assert back.store.fingerprint() == leader.store.fingerprint()


def test_a_log_that_no_snapshot_cuts_makes_writes_busy(
    make_trio: Callable[..., Trio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "_MIN_LOG_BYTES", 1_000_000)
    trio = make_trio(snapshot_log_bytes=500_000)
    leader = trio.lead()
    monkeypatch.setattr(leader.snapshots, "take", lambda: None)
    answers = [trio.write(leader, f"k{n}", VALUE) for n in range(40)]
    assert is_busy(answers[-1], "waits for a snapshot")
    assert 18 <= sum(answer.told == ["+OK"] for answer in answers) <= 22


@pytest.mark.parametrize("volume_mib", [8, 256])
def test_the_bound_of_the_log_comes_before_half_of_the_volume_is_taken(
    make_trio: Callable[..., Trio], volume_mib: int
) -> None:
    trio = make_trio(snapshot_log_bytes=volume_mib * 2**20 // 8)
    assert trio.lead()._max_log_bytes <= volume_mib * 2**20 // 2


def test_requests_and_reads_beyond_their_bounds_are_busy(
    make_trio: Callable[..., Trio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_module, "MAX_TURN_BYTES", 250_000)
    monkeypatch.setattr(requests_module, "MAX_WAITING_READS", 5)
    trio = make_trio(check_quorum=False)
    leader = trio.lead()
    answers = [Answer() for _ in range(4)]
    for answer in answers:
        leader.submit(Kind.WRITE, b"\x93\x01\xc4\x01k\xc6\x00\x01\x86\xa0" + VALUE, answer)
    trio.turn()
    assert [answer.told == ["+OK"] for answer in answers] == [True, True, False, False]
    assert is_busy(answers[3], "of requests at once")
    trio.down |= {name for name, node in trio.nodes.items() if node is not leader}
    reads = [trio.read(leader, "k") for _ in range(8)]
    assert [bool(read.told) for read in reads] == [False] * 5 + [True] * 3
    assert is_busy(reads[-1], "reads wait")
    trio.run(300)
    assert all(str(read.told[0]).startswith("-NOTLEADER") for read in reads[:5])
    assert leader.reads.reads == 0


def test_acknowledgements_go_out_only_after_the_sync_unless_that_guard_is_off(
    tmp_path: Path,
) -> None:
    for rule, expected in ((None, []), ("ackBeforeSync", ["+OK"])):
        trio = Trio(tmp_path / str(rule), break_rule=rule)
        leader = trio.lead()
        for disk in trio.disks.values():
            disk.stalled = True
        answer = trio.write(leader, "k")
        trio.run(2)
        # The leader itself counts only what it has synced, so two followers must have answered.
        assert answer.told == expected
        trio.close()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare")
def test_a_full_disk_ends_the_member_and_says_so(tmp_path: Path, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1, snapshotLogBytes=4_000_000)
    cluster.kill(0)
    data, config = cluster.data_dir(0), cluster.config_path(0)
    data.mkdir(exist_ok=True)
    script = 'mount -t tmpfs -o size=5m tmpfs "$1" && shift && exec "$@"'
    options = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    errors = tmp_path / "full.log"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [
                *("unshare", *options, "sh", "-c", script, "sh", str(data)),
                *(*cluster.program, "raft", "--config", str(config), "--member", "demo-0"),
                *("--listen", "127.0.0.1"),
            ],
            stderr=log,
        )
    cluster.processes[0] = process  # type: ignore[assignment]
    cluster.wait_for("it serves", lambda: cluster.status(0)["role"] == "leader")
    acknowledged = 0
    with cluster.client(0) as client, contextlib.suppress(ConnectionError):
        while client.ask("SET", f"k{acknowledged}", b"v" * 900_000) == b"OK":
            acknowledged += 1
    assert cluster.processes.pop(0).wait(10) == 74
    assert 0 < acknowledged < 10
    message = errors.read_text()
    assert "No space left on device" in message
    assert "nothing since the last sync was acknowledged" in message
    assert "check the volume" in message
