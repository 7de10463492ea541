"""`faultlab-node` as a command: what it refuses, how, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faultlab.raft.configuration import Configuration
from faultlab.raft.messages import Entry, HardState
from faultlab.raft.storage.store import open_storage
from faultlab.runtime.files import RealFiles

PROGRAM = "from faultlab.node import main; main()"


def run(*args: str, pod_name: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"POD_NAME": pod_name} if pod_name is not None else {}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *args], capture_output=True, text=True, timeout=20, env=environment
    )


def write_config(directory: Path, **changes: Any) -> str:
    member = {"name": "demo-0", "host": "127.0.0.1", "clientPort": 1, "peerPort": 2, "adminPort": 3}
    config = {"cluster": "demo", "members": [member], "dataDir": str(directory / "data"), **changes}
    path = directory / "config.json"
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return str(path)


def test_help_says_how_to_start_a_member() -> None:
    assert "raft" in run("--help").stdout
    assert "--config FILE" in run("raft", "--help").stdout


@pytest.mark.parametrize(
    ("changes", "member", "message"),
    [
        ({}, None, "POD_NAME"),
        ({}, "demo-7", "not among the members"),
        ({"dataDir": ""}, "demo-0", "dataDir"),
        ({"cluster": None}, "demo-0", "cluster"),
        ({"electionTimeout": 5}, "demo-0", "electionTimeout"),
        ({"electionTimeoutMs": "fast"}, "demo-0", "electionTimeoutMs"),
        ({"electionTimeoutMs": 60, "heartbeatIntervalMs": 50}, "demo-0", "at least twice"),
        ({"heartbeatIntervalMs": 0}, "demo-0", "at least 1"),
        ({"reads": "wrong"}, "demo-0", "reads"),
        ({"reads": "lease", "checkQuorum": False}, "demo-0", "checkQuorum"),
        ({"maxClockDriftPercent": 100}, "demo-0", "0 to 99"),
        ({"snapshotLogBytes": 0}, "demo-0", "snapshotLogBytes is 0"),
        ({"breakRule": "everything"}, "demo-0", "breakRule"),
        ({"peerKeyFile": "/nowhere/key"}, "demo-0", "/nowhere/key"),
        ({"members": [{"name": "demo-0", "host": "a", "id": "demo-1#5"}]}, "demo-0", "no id of demo-0"),
        ({"members": []}, "demo-0", "1 to 9"),
        ({"members": [{"name": "demo-0", "host": "a"}] * 2}, "demo-0", "twice"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line_with_exit_2(
    tmp_path: Path, changes: dict[str, Any], member: str | None, message: str
) -> None:
    ended = run("raft", "--config", write_config(tmp_path, **changes), pod_name=member)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    ended = run("raft", "--config", str(tmp_path / "config.json"), "--member", "demo-0")
    assert ended.returncode == 2
    assert "config.json" in ended.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    ended = run("raft", "--config", str(tmp_path / "nowhere.json"), "--member", "demo-0")
    assert ended.returncode == 2
    assert "nowhere.json" in ended.stderr


def test_a_damaged_log_is_refused_with_exit_65_and_one_line(tmp_path: Path) -> None:
    log = tmp_path / "data" / "demo-0" / "wal" / "0000000001.wal"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"garbage")
    ended = run("raft", "--config", write_config(tmp_path), "--member", "demo-0")
    assert ended.returncode == 65
    assert f"{log} is damaged at byte 0" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_log_without_what_was_committed_is_refused_with_exit_65_and_one_line(tmp_path: Path) -> None:
    bootstrap = Configuration(("demo-0",), (), (), {"demo-0": ("127.0.0.1", 1, 2, 3)})
    storage, _ = open_storage(RealFiles(), tmp_path / "data", "demo", "demo-0", bootstrap)
    storage.add_entries([Entry(1, 5, b"")])
    storage.add_hard_state(HardState(5, None, 9))
    storage.close()
    ended = run("raft", "--config", write_config(tmp_path), "--member", "demo-0")
    assert ended.returncode == 65
    assert "log ends at 1" in ended.stderr
    assert "replace" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("changes", [{"initialState": "existing"}, {"id": "demo-0"}])
def test_an_empty_directory_under_a_known_id_is_refused_with_exit_65_and_what_to_do(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    member = {"name": "demo-0", "host": "127.0.0.1", "clientPort": 1, "peerPort": 2, "adminPort": 3}
    member_id = {key: changes.pop(key) for key in list(changes) if key == "id"}
    ended = run(
        "raft",
        "--config",
        write_config(tmp_path, members=[{**member, **member_id}], **changes),
        pod_name="demo-0",
    )
    assert ended.returncode == 65
    assert "replace" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_refused_with_exit_1(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        members = [{"name": "demo-0", "host": "127.0.0.1", "peerPort": port}]
        ended = run(
            "raft",
            "--config",
            write_config(tmp_path, members=members),
            "--member",
            "demo-0",
            "--listen",
            "127.0.0.1",
        )
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_program_is_quick_to_import() -> None:
    """0.35 s on an idle machine: the best of several, with room for a busy one."""
    best = min(_import_time_s() for _ in range(5))
    assert best < 0.7


def _import_time_s() -> float:
    program = (
        "import time; t = time.process_time()\n"
        "import faultlab.raft.member, faultlab.runtime.process\n"
        "print(time.process_time() - t)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return float(out)
