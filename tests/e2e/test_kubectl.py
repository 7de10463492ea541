"""What docs/embedded.md says of kubectl, tried with the kubectl of this machine against a world that runs."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest
from embedded_lab import EmbeddedLab
from lab import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded]
OLDEST = (1, 27)

RAFT = """
apiVersion: faultlab.dev/v1alpha1
kind: RaftCluster
metadata: {name: r}
spec: {replicas: 3}
"""
SHOP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec:
  selector: {app: redis}
  ports: [{name: redis, port: 6379}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  replicas: 1
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: redis
        image: redis:7
        readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: etcd}
spec:
  clusterIP: None
  selector: {app: etcd}
  ports: [{name: client, port: 80, targetPort: client}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: etcd}
spec:
  serviceName: etcd
  selector: {matchLabels: {app: etcd}}
  template:
    metadata: {labels: {app: etcd}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: etcd
        image: quay.io/coreos/etcd:v3.5.1
        command: [etcd, --data-dir=/data, "--listen-client-urls=http://0.0.0.0:2379",
                  "--advertise-client-urls=http://etcd:2379"]
        ports: [{name: client, containerPort: 2379}]
        readinessProbe: {httpGet: {path: /health, port: client}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: customer}
spec:
  backoffLimit: 0
  template:
    spec:
      terminationGracePeriodSeconds: 1
      restartPolicy: Never
      containers:
      - name: c
        image: redis:7
        command: [sh, -c]
        args:
        - |
          cat /settings/greeting; echo
          n=0; until redis-cli -h redis ping 2>&1 | grep PONG; do n=$((n+1)); [ $n -lt 100 ]; sleep 0.1; done
        volumeMounts: [{name: settings, mountPath: /settings}]
      volumes: [{name: settings, configMap: {name: settings}}]
"""
TROUBLE = """
apiVersion: v1
kind: Pod
metadata: {name: crash, labels: {kind: trouble}}
spec:
  containers: [{name: c, image: "redis:7", command: [sh, -c, "echo attempt; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: unknown, labels: {kind: trouble}}
spec:
  containers: [{name: c, image: "nginx:1.27"}]
---
apiVersion: v1
kind: Pod
metadata: {name: talk, labels: {kind: talk}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: redis:7
    command: [sh, -c, "for i in 1 2 3; do echo tick $i; sleep 0.2; done"]
"""


@functools.cache
def unusable() -> str:
    """Why no kubectl can be used here; empty where one can."""
    program = shutil.which("kubectl")
    if program is None:
        return "kubectl is not installed"
    answer = subprocess.run(
        [program, "version", "--client", "-o", "json"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    try:
        version = json.loads(answer.stdout)["clientVersion"]
        found = int(version["major"]), int(re.sub(r"\D.*", "", version["minor"]))
    except (ValueError, KeyError, TypeError) as error:
        return f"kubectl does not tell its version ({error}): {answer.stderr.strip()}"
    return "" if found >= OLDEST else f"kubectl is {found[0]}.{found[1]}, older than 1.27"


class Kubectl:
    """kubectl with the world's kubeconfig, in one namespace."""

    def __init__(self, lab: EmbeddedLab, namespace: str) -> None:
        self.environment = os.environ | {"KUBECONFIG": lab.info().kubeconfig}
        self.namespace = namespace

    def run(self, *words: str, stdin: str = "", namespace: bool = True) -> subprocess.CompletedProcess[str]:
        scope = ["-n", self.namespace] if namespace else []
        return subprocess.run(
            ["kubectl", *scope, *words],
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def __call__(self, *words: str, stdin: str = "", namespace: bool = True) -> str:
        """Its standard output; fails where it does."""
        ended = self.run(*words, stdin=stdin, namespace=namespace)
        assert ended.returncode == 0, f"kubectl {' '.join(words)}: {ended.stderr}{ended.stdout}"
        return ended.stdout

    def refusal(self, *words: str, stdin: str = "") -> str:
        """What it says as it fails; fails where it does not."""
        ended = self.run(*words, stdin=stdin)
        assert ended.returncode != 0, f"kubectl {' '.join(words)} succeeded: {ended.stdout}"
        return ended.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json"))

    def proxied(self, target: str, path: str) -> Any:
        """What a pod or service answers through the API server."""
        return json.loads(self("get", "--raw", f"/api/v1/namespaces/{self.namespace}/{target}/proxy/{path}"))


@pytest.fixture
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    if reason := unusable():
        pytest.skip(reason)
    return Kubectl(request.getfixturevalue("world_lab"), request.getfixturevalue("namespace"))


def waiting(kubectl: Kubectl, pod: str) -> dict[str, Any]:
    """Why the pod's container waits; empty where it does not."""
    statuses = kubectl.json("get", "pod", pod).get("status", {}).get("containerStatuses") or [{}]
    found: dict[str, Any] = statuses[0].get("state", {}).get("waiting") or {}
    return found


def until_reason(kubectl: Kubectl, pod: str, reasons: tuple[str, ...]) -> str:
    found = eventually(
        f"{pod} is {' or '.join(reasons)}",
        lambda: now if (now := waiting(kubectl, pod)).get("reason") in reasons else None,
    )
    return str(found.get("message", ""))


def test_a_raft_cluster_is_applied_waited_for_looked_at_and_deleted(kubectl: Kubectl) -> None:
    assert "created (server dry run)" in kubectl("apply", "-f", "-", "--dry-run=server", stdin=RAFT)
    assert kubectl("get", "raft", "-o", "name") == ""
    assert "raftcluster.faultlab.dev/r created" in kubectl("apply", "-f", "-", stdin=RAFT)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=RAFT)
    kubectl("wait", "--for=condition=Ready", "raft/r", "--timeout=20s")
    kubectl("wait", "--for=jsonpath={.status.readyMembers}=3/3", "raft/r", "--timeout=20s")
    header, row = kubectl("get", "raft").splitlines()
    assert header.split() == ["NAME", "READY", "LEADER", "TERM", "MEMBERS", "AGE"]
    assert row.split()[:2] == ["r", "True"]
    leader = kubectl("get", "raft", "r", "-o", "jsonpath={.status.leader}")
    assert leader in {"r-0", "r-1", "r-2"}
    owned = kubectl("get", "pods", "-l", "app.kubernetes.io/instance=r", "-o", "name").split()
    assert owned == ["pod/r-0", "pod/r-1", "pod/r-2"]
    assert "LeaderElected" in kubectl("describe", "raft", "r")
    assert "electionTimeout" in kubectl("explain", "raftcluster.spec")
    assert "raftcluster.faultlab.dev/r scaled" in kubectl("scale", "raft/r", "--replicas=5")
    kubectl("wait", "--for=jsonpath={.status.readyMembers}=5/5", "raft/r", "--timeout=40s")
    kubectl("wait", "--for=condition=MembershipSettled", "raft/r", "--timeout=20s")
    header, row = kubectl("get", "raft", "-o", "wide").splitlines()
    shown = dict(zip(header.split(), row.split(), strict=True))
    assert (shown["VOTERS"], shown["LEARNERS"], shown["MEMBERSHIP"]) == ("5", "0", "AllMembersVote")
    even = '{"spec":{"replicas":4}}'
    assert "replicas must be odd" in kubectl.refusal("patch", "raft", "r", "--type=merge", "-p", even)
    assert kubectl.proxied(f"pods/{leader}:7002", "status")["role"] == "leader"
    kubectl("delete", "raft", "r")
    kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/instance=r", "--timeout=20s")


def test_workloads_roll_out_and_reach_each_other_by_name(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=SHOP)
    kubectl("rollout", "status", "deployment/redis", "--timeout=20s")
    kubectl("rollout", "status", "statefulset/etcd", "--timeout=20s")
    kubectl("wait", "--for=condition=complete", "job/customer", "--timeout=20s")
    assert kubectl("logs", "job/customer").splitlines() == ["hello", "PONG"]
    assert "etcdserver" in kubectl.proxied("services/etcd:client", "version")
    assert kubectl.json("get", "pvc", "data-etcd-0")["status"]["phase"] == "Bound"
    first = kubectl("get", "pod", "etcd-0", "-o", "jsonpath={.metadata.uid}")
    kubectl("delete", "statefulset", "etcd", "--cascade=orphan")
    assert kubectl("get", "pod", "etcd-0", "-o", "jsonpath={.metadata.uid}") == first
    kubectl("apply", "--server-side", "-f", "-", stdin=SHOP)
    kubectl("wait", "pod/etcd-0", "--for=jsonpath={.metadata.ownerReferences[0].kind}=StatefulSet")
    assert kubectl("get", "pod", "etcd-0", "-o", "jsonpath={.metadata.uid}") == first
    kubectl("scale", "deployment/redis", "--replicas=2")
    kubectl("rollout", "status", "deployment/redis", "--timeout=20s")
    assert len(kubectl("get", "pods", "-l", "app=redis", "-o", "name").split()) == 2
    kubectl("delete", "deployment", "redis", "--cascade=foreground", "--timeout=20s")
    assert kubectl("get", "pods", "-l", "app=redis", "-o", "name") == ""


def test_trouble_is_named_and_logs_are_kept(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=TROUBLE)
    eventually("talk has begun", lambda: kubectl.run("logs", "talk").returncode == 0)
    assert kubectl("logs", "-f", "talk").splitlines() == ["tick 1", "tick 2", "tick 3"]
    assert kubectl("logs", "talk", "--tail=1") == "tick 3\n"
    assert kubectl("logs", "talk", "--since-time=2999-01-01T00:00:00Z") == ""
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/talk", "--timeout=20s")
    message = until_reason(kubectl, "unknown", ("ErrImagePull", "ImagePullBackOff"))
    assert "nginx:1.27" in message
    assert "redis:*" in kubectl("describe", "pod", "unknown")
    until_reason(kubectl, "crash", ("CrashLoopBackOff",))
    assert kubectl("logs", "crash", "--previous") == "attempt\n"
    listed = kubectl("get", "pods", "--field-selector", "status.phase=Succeeded", "-o", "name")
    assert listed.split() == ["pod/talk"]
    kubectl("delete", "pods", "-l", "kind=trouble", "--timeout=20s")


def test_every_kind_of_patch_is_taken(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=SHOP)
    for kind, patch in (
        ("strategic", '{"metadata":{"labels":{"a":"1"}}}'),
        ("merge", '{"metadata":{"labels":{"b":"2"}}}'),
        ("json", '[{"op":"add","path":"/metadata/labels/c","value":"3"}]'),
    ):
        kubectl("patch", "configmap", "settings", f"--type={kind}", "-p", patch)
    kubectl("label", "configmap", "settings", "d=4")
    kubectl("annotate", "configmap", "settings", "note=kept")
    meta = kubectl.json("get", "configmap", "settings")["metadata"]
    assert meta["labels"] == {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert meta["annotations"]["note"] == "kept"
    assert "already has a value" in kubectl.refusal("label", "configmap", "settings", "d=5")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("exec", "p", "--", "ls"), "pods/exec is not served by the embedded world"),
        (("port-forward", "p", "7000"), "pods/portforward is not served by the embedded world"),
        (("top", "pods"), "Metrics API not available"),
        (("create", "configmap", "c", "--from-literal=a=b"), "not protobuf"),
        (("get", "ingress"), 'the server doesn\'t have a resource type "ingress"'),
        (("delete", "namespace", "default"), "may not be deleted"),
    ],
)
def test_what_is_not_served_says_so(kubectl: Kubectl, words: tuple[str, ...], says: str) -> None:
    if words[0] in ("exec", "port-forward"):
        kubectl("run", "p", "--image=redis:7")
        kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
    assert says in kubectl.refusal(*words)


def test_watch_shows_each_change_under_one_header(kubectl: Kubectl) -> None:
    watch = subprocess.Popen(
        ["kubectl", "-n", kubectl.namespace, "get", "configmaps", "-w", "-o", "name"],
        env=kubectl.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "configmap/kube-root-ca.crt\n"
        kubectl("apply", "-f", "-", stdin=SHOP)
        assert watch.stdout.readline() == "configmap/settings\n"
    finally:
        watch.kill()
        watch.wait()
