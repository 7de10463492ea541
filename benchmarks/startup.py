"""How long the embedded world takes to be up, and a RaftCluster of five to be Ready in it.

    python benchmarks/startup.py --rounds 5 --json results/benchmarks/startup.json

Each round is a world of its own, with nothing kept from the last. Expected: up within 2 s, Ready
within 5 s.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from faultlab_cli import lab
from faultlab_cli.kube import Kube, connect

NAMESPACE = "faultlab"
CLUSTER = {
    "apiVersion": "faultlab.dev/v1alpha1",
    "kind": "RaftCluster",
    "metadata": {"name": "bench"},
    "spec": {"replicas": 5},
}
READY_TIMEOUT_S = 60.0


def one_round() -> dict[str, float]:
    """Seconds until the world answered, and from `apply` until the cluster was Ready."""
    begun = time.monotonic()
    info = lab.start(persist=True)
    up = time.monotonic()
    kube = connect(Path(info.kubeconfig), None)
    _await_pod(kube, "faultlab-operator")
    operator = time.monotonic()
    kube.apply(CLUSTER, NAMESPACE)
    applied = time.monotonic()
    path = kube.resource("raftclusters").path(NAMESPACE, "bench")
    while not _ready(kube, path):
        if time.monotonic() - applied > READY_TIMEOUT_S:
            raise SystemExit(f"the cluster was not Ready within {READY_TIMEOUT_S:.0f} s")
        time.sleep(0.02)
    ready = time.monotonic()
    lab.stop(purge=True)
    return {"worldUpS": up - begun, "operatorReadyS": operator - begun, "clusterReadyS": ready - applied}


def _await_pod(kube: Kube, name: str) -> None:
    path = f"/api/v1/namespaces/{lab.SYSTEM_NAMESPACE}/pods/{name}"
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        pod = kube.find(path) or {}
        conditions = pod.get("status", {}).get("conditions", [])
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            return
        time.sleep(0.02)
    raise SystemExit(f"pod {name} was not Ready within {READY_TIMEOUT_S:.0f} s")


def _ready(kube: Kube, path: str) -> bool:
    conditions = (kube.find(path) or {}).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as home:
            os.environ["FAULTLAB_HOME"] = home
            rounds.append(one_round())
        print(f"round {number + 1}: " + ", ".join(f"{k} {v:.2f}" for k, v in rounds[-1].items()), flush=True)
    medians = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    print("median:  " + ", ".join(f"{key} {value:.2f}" for key, value in medians.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"rounds": rounds, "medians": medians}, indent=1))


if __name__ == "__main__":
    main()
