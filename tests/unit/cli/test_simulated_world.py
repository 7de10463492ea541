"""`faultlab run --world simulation`: the same YAML, judged alike, the same again for the same seed."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

SCENARIO = """
apiVersion: faultlab.dev/v1alpha1
kind: Scenario
metadata: {name: short}
spec:
  title: The leader of three is cut off
  systems:
    - apiVersion: faultlab.dev/v1alpha1
      kind: RaftCluster
      metadata: {name: demo}
      spec: {replicas: 3, checkQuorum: %(checkQuorum)s, testing: %(testing)s}
  load:
    system: {kind: RaftCluster, name: demo}
    users: 12
    arrival: {mode: constantRate, operationsPerSecond: 450}
    mix: {read: 45, write: 25, cas: 10, append: 10, incr: 10}
    keys: {count: 3}
    operationTimeout: 500ms
  warmUp: {duration: 1s, minimumOperationsPerSecond: 50}
  timeline:
    - at: 500ms
      fault: {kind: NetworkPartition, spec: {topology: {type: isolate, with: {role: leader}}, duration: 4s}}
  settle: 1s
  expect:
    - {check: linearizable}
    - {check: leaderChanged}
    - {check: failover, atMost: 2s}
"""


def _file(tmp_path: Path, *, check_quorum: str = "true", testing: str = "null") -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO % {"checkQuorum": check_quorum, "testing": testing})
    return path


def _run(*arguments: object, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("faultlab"), "run", *map(str, arguments)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)


def test_a_scenario_passes_with_the_files_of_the_other_worlds(tmp_path: Path) -> None:
    done = _run(_file(tmp_path), "--world", "simulation", "--out", tmp_path / "out")

    assert done.returncode == 0, done.stdout + done.stderr
    verdict = msgspec.json.decode((tmp_path / "out" / "verdict.json").read_bytes())
    assert verdict["world"] == "simulation"
    assert verdict["leaderBefore"] != verdict["leaderAfter"]
    assert {check["name"]: check["result"] for check in verdict["checks"]} == {
        "linearizable": "pass",
        "leaderChanged": "pass",
        "failover": "pass",
        "electionSafety": "pass",
        "logMatching": "pass",
        "memberInvariants": "pass",
    }
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"verdict.json", "report.html", "events.ndjson", "history.ndjson", "run.json"}


def test_the_same_seed_gives_the_same_history_in_another_process_and_another_seed_does_not(
    tmp_path: Path,
) -> None:
    scenario = _file(tmp_path)
    histories = []
    for name, seed, hash_seed in (("a", 5, "1"), ("b", 5, "2"), ("c", 6, "1")):
        out = tmp_path / name
        done = _run(scenario, "--world", "simulation", "--seed", seed, "--out", out, hash_seed=hash_seed)
        assert done.returncode == 0, done.stdout + done.stderr
        histories.append((out / "history.ndjson").read_bytes())

    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_a_guard_that_is_switched_off_is_a_fail_with_proof(tmp_path: Path) -> None:
    scenario = _file(tmp_path, check_quorum="false", testing="{breakRule: staleReads}")

    done = _run(scenario, "--world", "simulation", "--out", tmp_path / "out")

    assert done.returncode == 1, done.stdout + done.stderr
    verdict = msgspec.json.decode((tmp_path / "out" / "verdict.json").read_bytes())
    linearizable = next(check for check in verdict["checks"] if check["name"] == "linearizable")
    assert linearizable["result"] == "fail"
    assert linearizable["evidence"]


def _two_systems(text: str) -> str:
    system = text[text.index("    - apiVersion") : text.index("  load:")]
    return text.replace("  load:", system.replace("name: demo", "name: other") + "  load:", 1)


@pytest.mark.parametrize(
    ("change", "options", "complaint"),
    [
        (str, ["--seed", "3"], "--seed is of a simulation"),
        (str, ["--world", "simulation", "--context", "kind-x"], "leave --context out"),
        (_two_systems, ["--world", "simulation"], "scenarios of one RaftCluster"),
        (lambda text: text.replace("users: 12", "users: many"), ["--world", "simulation"], "users"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_line(
    tmp_path: Path, change: object, options: list[str], complaint: str
) -> None:
    path = _file(tmp_path)
    assert callable(change)
    path.write_text(change(path.read_text()))

    done = _run(path, *options)

    assert done.returncode == 2, done.stdout + done.stderr
    assert complaint in done.stderr
