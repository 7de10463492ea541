"""How quick a partition is on a running cluster, from `apply` to its proof and from its end to its proof.

    python benchmarks/cluster.py --context kind-faultlab --json results/benchmarks/cluster.json
    python benchmarks/cluster.py --world embedded            # the same in the embedded world

- What operator and agents take at rest, over a minute: CPU as a share of one core and memory, from the
  kubelets' own accounts (`nodes/NODE/proxy/stats/summary`: needs admin rights) or, embedded, from /proc.
- From `kubectl apply` (the program) and from a request to the API until EffectObserved, by a watch.
- From injectedAt + duration until healVerifiedAt.
- Failover and unavailability of the scenario of `make demo`.

Expected: cut proven within 1 s at the median of 20, heal proven within 1 s of its time, operator under
1 % of a core and 150 MB, agents under 60 MB. Everything happens in a namespace of its own, which is deleted
at the end whatever happens.
"""

import argparse
import contextlib
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from rich.console import Console

from faultlab_cli import lab, where
from faultlab_cli.kube import Kube
from faultlab_cli.operator_pod import OperatorPod
from faultlab_cli.options import DEFAULT_LAB_NAMESPACE, World
from faultlab_cli.preflight import prepare
from faultlab_cli.run import load_scenario, run_scenario

SCENARIO = Path(__file__).parents[1] / "chaos" / "scenarios" / "raft-leader-partition.yaml"
PARTITIONS = "/apis/faultlab.dev/v1alpha1/namespaces/{namespace}/networkpartitions"
API_VERSION = "faultlab.dev/v1alpha1"
CLUSTER = {
    "apiVersion": API_VERSION,
    "kind": "RaftCluster",
    "metadata": {"name": "bench"},
    "spec": {"replicas": 5},
}
DURATION_S = 2
TIMEOUT_S = 180.0
PROOF_TIMEOUT_S = 30.0
PARTS = ("faultlab-operator", "faultlab-agent")
MB = 1_000_000

Document = dict[str, Any]
Usage = dict[str, tuple[float, float, float, float]]
"""Of each container: time (s), CPU used until then (s), resident memory, working set (bytes)."""
T = TypeVar("T")


class Missed(Exception):
    """A proof did not come; on a machine that is too busy a fault's lease may run out before it."""


class Proofs:
    """When each partition of a namespace was first seen with a condition, by a watch: nothing is polled."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._path = PARTITIONS.format(namespace=namespace)
        self._seen: dict[tuple[str, str], tuple[float, Document]] = {}
        self._changed = threading.Condition()
        self._end: BaseException | None = None
        version = kube.get(self._path)["metadata"]["resourceVersion"]
        threading.Thread(target=self._follow, args=(version,), daemon=True).start()

    def wait(self, name: str, condition: str) -> tuple[float, Document]:
        """The moment (monotonic, s) at which the condition was seen to be True, and the object then.

        Raises Missed where it does not come in time.
        """
        deadline = time.monotonic() + PROOF_TIMEOUT_S
        with self._changed:
            while (name, condition) not in self._seen:
                left = deadline - time.monotonic()
                if self._end or left <= 0:
                    cause = self._end or f"not within {PROOF_TIMEOUT_S:.0f} s"
                    raise Missed(f"{name} was not {condition}: {cause}")
                self._changed.wait(left)
            return self._seen[name, condition]

    def _follow(self, version: str) -> None:
        params = {"watch": "true", "resourceVersion": version}
        try:
            with self._kube.stream(self._path, params=params, timeout=None) as response:
                for line in response.iter_lines():
                    self._note(json.loads(line)["object"], time.monotonic())
            ended: BaseException = EOFError("the watch ended")
        except Exception as error:
            ended = error
        with self._changed:
            self._end = ended
            self._changed.notify_all()

    def _note(self, partition: Document, now: float) -> None:
        with self._changed:
            for condition in (partition.get("status") or {}).get("conditions", []):
                if condition["status"] == "True":
                    key = partition["metadata"]["name"], condition["type"]
                    self._seen.setdefault(key, (now, partition))
            self._changed.notify_all()


def partitions(
    kube: Kube, namespace: str, rounds: int, apply: Callable[[Document], object], label: str
) -> list[dict[str, float]]:
    """Each round's seconds from `apply` to EffectObserved and from the planned end to HealVerified; a round
    without its proofs is told and left out."""
    cluster = kube.resource("raftclusters").path(namespace, "bench")
    proofs = Proofs(kube, namespace)
    results = []
    for number in range(rounds):
        await_it(lambda: settled(kube.find(cluster)), "the cluster's members")
        name = f"{label}-{number}"
        before = time.monotonic()
        apply(partition(name))
        try:
            observed, _ = proofs.wait(name, "EffectObserved")
            _, healed = proofs.wait(name, "HealVerified")
        except Missed as missed:
            print(f"{label} {number + 1}: {missed}", flush=True)
        else:
            status = healed["status"]
            late = timestamp(status["healVerifiedAt"]) - timestamp(status["injectedAt"]) - DURATION_S
            results.append({"cutS": observed - before, "healS": late})
            print(f"{label} {number + 1}: {told(results[-1])}", flush=True)
        kube.delete(f"{PARTITIONS.format(namespace=namespace)}/{name}", wait_s=10)
    return results


def partition(name: str) -> Document:
    """The leader with a minority, as in the demo."""
    return {
        "apiVersion": API_VERSION,
        "kind": "NetworkPartition",
        "metadata": {"name": name},
        "spec": {
            "selector": {"system": {"kind": "RaftCluster", "name": "bench"}},
            "topology": {"type": "minority", "with": {"role": "leader"}, "size": 2},
            "duration": f"{DURATION_S}s",
        },
    }


def settled(cluster: Document | None) -> bool | None:
    """Every member is ready and one leads."""
    status = (cluster or {}).get("status") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return True if ready and status.get("leader") else None


def kubectl(options: list[str], namespace: str) -> Callable[[Document], None]:
    def apply(document: Document) -> None:
        command = ["kubectl", *options, "-n", namespace, "apply", "-f", "-"]
        subprocess.run(
            command,
            input=yaml.safe_dump(document),
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    return apply


def at_rest(usage: Callable[[], Usage], seconds: int) -> dict[str, dict[str, float]]:
    """CPU in percent of one core over the time, and megabytes at its end, of each part."""
    first = await_it(lambda: complete(usage()), "operator and agents")
    time.sleep(seconds)
    deadline = time.monotonic() + TIMEOUT_S
    last = usage()
    while time.monotonic() < deadline:
        if all(name in last and last[name][0] - first[name][0] >= seconds / 2 for name in first):
            break
        time.sleep(2)  # The kubelet looks every 10 to 15 s.
        last = usage()
    return {
        name: {
            "cpuPercent": 100 * (last[name][1] - begun[1]) / max(last[name][0] - begun[0], 1e-9),
            "rssMB": last[name][2] / MB,
            "workingSetMB": last[name][3] / MB,
        }
        for name, begun in first.items()
        if name in last
    }


def complete(found: Usage) -> Usage | None:
    """None where a part is missing that is still starting."""
    there = all(any(name.startswith(part) for name in found) for part in PARTS)
    return found if there else None


def under_way(kube: Kube) -> list[str]:
    """The scenarios of all namespaces that are not done."""
    found = kube.get("/apis/faultlab.dev/v1alpha1/scenarios")["items"]
    return [
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in found
        if (each.get("status") or {}).get("phase") != "Done"
    ]


def usage_by_kubelets(kube: Kube, lab_namespace: str) -> Usage:
    """From each node's own account of its pods' containers; nothing while one is missing there."""
    pods = kube.get(f"/api/v1/namespaces/{lab_namespace}/pods")["items"]
    wanted = {pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith(PARTS)}
    found: Usage = {}
    for node in kube.get("/api/v1/nodes")["items"]:
        summary = kube.get(f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary")
        for pod in summary["pods"]:
            reference = pod["podRef"]
            if reference["namespace"] != lab_namespace or reference["name"] not in wanted:
                continue
            for container in pod["containers"]:
                cpu, memory = container["cpu"], container["memory"]
                if "usageCoreNanoSeconds" not in cpu or "rssBytes" not in memory:
                    continue  # It has just started.
                found[reference["name"]] = (
                    timestamp(cpu["time"]),
                    cpu["usageCoreNanoSeconds"] / 1e9,
                    memory["rssBytes"],
                    memory["workingSetBytes"],
                )
    return found if wanted <= found.keys() else {}


def usage_by_proc(home: str) -> Usage:
    """Of the embedded world's processes, found by their home."""
    found: Usage = {}
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            part = int(entry.name) and next((p for p in PARTS if is_program(entry, p)), None)
            if part and f"FAULTLAB_HOME={home}".encode() in ancestors_environ(entry):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                resident = int((entry / "statm").read_text().split()[1]) * page
                found[part] = (time.time(), (int(fields[11]) + int(fields[12])) / ticks, resident, resident)
    return found


def is_program(entry: Path, program: str) -> bool:
    words = (entry / "cmdline").read_bytes().split(b"\0")[:2]
    return any(word.endswith(f"/{program}".encode()) for word in words)


def ancestors_environ(entry: Path) -> bytes:
    """The environments of a process and those above it: containers have their own."""
    found = b""
    while entry.name not in ("0", "1"):
        found += (entry / "environ").read_bytes()
        entry = entry.parent / (entry / "stat").read_text().rpartition(")")[2].split()[1]
    return found


def demo(kube: Kube, operator: OperatorPod, namespace: str, rounds: int, out: Path) -> list[Document]:
    """The verdict's numbers of each run."""
    quiet = Console(file=(out / "runs.log").open("w"), force_terminal=False)
    results = []
    for number in range(rounds):
        files = out / str(number)
        scenario = load_scenario(SCENARIO)
        run_scenario(kube, scenario, namespace=namespace, out=files, console=quiet, operator=operator)
        verdict = json.loads((files / "verdict.json").read_text())
        results.append({key: verdict[key] for key in ("verdict", "failoverMs", "unavailabilityMs")})
        print(f"demo {number + 1}: {results[-1]}", flush=True)
    return results


def figures(values: list[float]) -> dict[str, float]:
    ranked = sorted(values)
    p90 = ranked[min(len(ranked) - 1, round(0.9 * (len(ranked) - 1)))]
    return {"median": statistics.median(ranked), "p90": p90, "max": ranked[-1], "n": len(ranked)}


def told(numbers: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.3f}" for key, value in numbers.items())


def timestamp(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def await_it(probe: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if (found := probe()) is not None:
            return found
        time.sleep(0.1)
    raise SystemExit(f"{what} did not come within {TIMEOUT_S:.0f} s")


@contextlib.contextmanager
def opened(options: argparse.Namespace) -> Iterator[tuple[Kube, list[str], Callable[[], Usage]]]:
    """The cluster, kubectl's options for it, and how to ask what the lab's parts use."""
    if where.chosen(options.world, options.kubeconfig, options.context) is World.kubernetes:
        kube = where.existing(World.kubernetes, options.kubeconfig, options.context)
        asked = [("--context", options.context), ("--kubeconfig", options.kubeconfig)]
        flags = [f"{name}={value}" for name, value in asked if value]
        yield kube, flags, lambda: usage_by_kubelets(kube, options.lab_namespace)
        return
    with tempfile.TemporaryDirectory() as home:
        os.environ["FAULTLAB_HOME"] = home
        with lab.held() as info:
            kube = where.existing(World.embedded, None, None)
            yield kube, [f"--kubeconfig={info.kubeconfig}"], lambda: usage_by_proc(home)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with opened(options) as (kube, flags, usage), contextlib.ExitStack() as cleaning:
        namespace = f"bench-{secrets.token_hex(3)}"
        operator = OperatorPod(kube, options.lab_namespace)
        cleaning.callback(kube.delete, f"/api/v1/namespaces/{namespace}", wait_s=TIMEOUT_S)
        prepare(kube, operator, namespace, print)
        results: dict[str, Any] = {"origin": kube.origin, "othersUnderWay": under_way(kube)}
        if results["othersUnderWay"]:
            print(f"NOT ALONE: {', '.join(results['othersUnderWay'])}; nothing is at rest", flush=True)
        if options.rest:
            results["atRest"] = at_rest(usage, options.rest)
            for name, part in results["atRest"].items():
                print(f"at rest, {name}: {told(part)}", flush=True)
        kube.apply(CLUSTER, namespace)
        ways: dict[str, Callable[[Document], object]] = {
            "kubectl": kubectl(flags, namespace),
            "api": lambda document: kube.apply(document, namespace),
        }
        for label, apply in ways.items():
            rounds = partitions(kube, namespace, options.rounds, apply, label)
            keys = ("cutS", "healS") if rounds else ()
            results[label] = {key: figures([each[key] for each in rounds]) for key in keys}
            results[label]["missed"] = options.rounds - len(rounds)
            print(f"{label}: {results[label]}", flush=True)
        kube.delete(kube.resource("raftclusters").path(namespace, "bench"), wait_s=TIMEOUT_S)
        if options.demo:
            out = Path(cleaning.enter_context(tempfile.TemporaryDirectory()))
            results["demo"] = demo(kube, operator, namespace, options.demo, out)
        return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", type=World, choices=list(World), default=None, help="default: kubernetes")
    parser.add_argument("--context", help="a kube context; default: the current one")
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--lab-namespace", default=DEFAULT_LAB_NAMESPACE, help="where the operator runs")
    parser.add_argument("--rounds", type=int, default=20, help="partitions in each way of applying")
    parser.add_argument("--rest", type=int, default=60, help="seconds at rest; 0 leaves it out")
    parser.add_argument("--demo", type=int, default=3, help="runs of the demo; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if options.world is None:
        options.world = World.kubernetes
    # SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = measure(options)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
