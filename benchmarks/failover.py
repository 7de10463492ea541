"""Failover under the demo's partition, and whether full load alone ever causes an election.

    python benchmarks/failover.py --rounds 10 --steady 120 --json results/benchmarks/failover.json

Runs the scenario of `make demo` again and again in one embedded world and reads failover and
unavailability from its verdicts; then offers closed-loop load to a fresh cluster with the same
settings and counts the elections. Expected: at most 1,500 ms every time, and no election.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from faultlab_cli import lab
from faultlab_cli.kube import Kube, connect, pod_proxy
from faultlab_cli.run import load_scenario, run_scenario

SCENARIO = Path(__file__).parents[1] / "chaos" / "scenarios" / "raft-leader-partition.yaml"
NAMESPACE = "faultlab"
READY_TIMEOUT_S = 60.0


def failovers(kube: Kube, rounds: int, out: Path) -> list[dict[str, Any]]:
    """The verdict's numbers of each round."""
    quiet = Console(file=(out / "runs.log").open("w"), force_terminal=False)
    results = []
    for number in range(rounds):
        files = out / str(number)
        run_scenario(kube, load_scenario(SCENARIO), namespace=NAMESPACE, out=files, console=quiet)
        verdict = json.loads((files / "verdict.json").read_text())
        results.append({key: verdict[key] for key in ("verdict", "failoverMs", "unavailabilityMs")})
        print(f"round {number + 1}: {results[-1]}", flush=True)
    return results


def elections_under_load(kube: Kube, seconds: int) -> dict[str, Any]:
    """Terms before and after `seconds` of closed-loop load, and what was done in them."""
    cluster = {
        "apiVersion": "faultlab.dev/v1alpha1",
        "kind": "RaftCluster",
        "metadata": {"name": "steady"},
        "spec": {"replicas": 5},
    }
    load = {
        "apiVersion": "faultlab.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "steady"},
        "spec": {
            "system": {"kind": "RaftCluster", "name": "steady"},
            "users": 50,
            "arrival": {"mode": "closedLoop"},
            "mix": {"read": 50, "write": 50, "cas": 0},
            "record": False,
        },
    }
    kube.apply(cluster, NAMESPACE)
    kube.apply(load, NAMESPACE)
    status_path = pod_proxy(NAMESPACE, "steady-load", 8089, "/faultlab/status")
    before_load = _await(lambda: _load_status(kube, status_path), "the load")
    before = _await(lambda: _highest_term(kube), "a leader")
    time.sleep(seconds)
    after = _await(lambda: _highest_term(kube), "a leader")
    after_load = _await(lambda: _load_status(kube, status_path), "the load")
    for kind, name in (("loadtests", "steady"), ("raftclusters", "steady")):
        kube.delete(kube.resource(kind).path(NAMESPACE, name), wait_s=20)
    operations = after_load["ok"] - before_load["ok"]
    return {
        "seconds": seconds,
        "operationsPerSecond": operations / seconds,
        "elections": after - before,
        "failed": after_load["fail"] - before_load["fail"],
    }


def _load_status(kube: Kube, path: str) -> dict[str, Any] | None:
    try:
        status: dict[str, Any] = kube.get(path)
    except Exception as error:
        print(f"  waiting for the load: {error}", flush=True)
        return None
    return status if status["phase"] == "running" and status["ok"] else None


def _highest_term(kube: Kube) -> int | None:
    terms = []
    for number in range(5):
        try:
            status = kube.get(pod_proxy(NAMESPACE, f"steady-{number}", 7002, "/status"))
        except Exception as error:
            print(f"  waiting for steady-{number}: {error}", flush=True)
            return None
        terms.append(status["term"])
    return max(terms) or None


def _await(probe: Any, what: str) -> Any:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if (found := probe()) is not None:
            return found
        time.sleep(0.5)
    raise SystemExit(f"{what} did not come within {READY_TIMEOUT_S:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steady", type=int, default=120, help="seconds of full load; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FAULTLAB_HOME"] = f"{folder}/home"
        with lab.held() as info:
            kube = connect(Path(info.kubeconfig), None)
            results: dict[str, Any] = {"rounds": failovers(kube, options.rounds, Path(folder))}
            if options.steady:
                results["steady"] = elections_under_load(kube, options.steady)
    measured = [r["failoverMs"] for r in results["rounds"] if r["failoverMs"] is not None]
    if measured:
        results["failoverMs"] = {
            "median": statistics.median(measured),
            "max": max(measured),
            "n": len(measured),
        }
        print("failover ms:", results["failoverMs"])
    print("steady:", results.get("steady"))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
