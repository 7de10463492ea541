"""The lab on a kind cluster: its parts are pods, its nodes are containers of this machine's engine."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from lab import ROOT, SYSTEM_NAMESPACE, Lab, plain_environment

from faultlab_cli.kube import Kube, connect

OPERATOR = "app.kubernetes.io/name=faultlab-operator"
AGENT = "app.kubernetes.io/name=faultlab-agent"
LIST_TABLES = """
for netns in /var/run/netns/*; do
  nsenter --net="$netns" nft list tables | sed "s|^|${netns##*/} |"
done
"""


class KindLab(Lab):
    """The lab that `make kind-up` installed; `context` is its kubeconfig context."""

    def __init__(self, context: str) -> None:
        super().__init__(plain_environment())
        self.context = context

    def cluster_options(self) -> list[str]:
        return ["--context", self.context]

    def kube(self) -> Kube:
        return connect(None, self.context)

    def kubectl(self, *arguments: str, timeout_s: float = 60, check: bool = True) -> str:
        """Standard output of kubectl; raises with what it said where it failed."""
        ended = subprocess.run(
            ["kubectl", "--context", self.context, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=ROOT,
        )
        assert not check or ended.returncode == 0, f"kubectl {' '.join(arguments)}: {ended.stderr}"
        return ended.stdout

    def kill_operator(self) -> None:
        self._kill_pods(OPERATOR)

    @contextmanager
    def operator_away(self) -> Iterator[None]:
        self._scale_operator(0)
        self._kill_pods(OPERATOR)
        try:
            yield
        finally:
            self._scale_operator(1)
            self.await_operator()

    def kill_agent(self, pod: str, namespace: str) -> None:
        self._kill_pods(AGENT, node=self.node_of(pod, namespace))

    @contextmanager
    def agent_frozen(self, pod: str, namespace: str) -> Iterator[None]:
        node = self.node_of(pod, namespace)
        pid = on_node(node, "pgrep", "-o", "-f", "bin/faultlab-agent").strip()
        on_node(node, "kill", "-STOP", pid)
        try:
            yield
        finally:
            on_node(node, "kill", "-CONT", pid, check=False)

    def in_volume(self, pod: str, namespace: str, script: str) -> None:
        there = f"import os; os.chdir('/data')\n{script}"
        self.kubectl("-n", namespace, "exec", pod, "--", "python", "-c", there)

    def tables(self) -> list[str]:
        found = []
        for node in self.nodes():
            listed = on_node(node, "sh", "-c", LIST_TABLES, check=False)
            found += [f"{node} {line}" for line in listed.splitlines() if " faultlab-" in line]
        return found

    def nodes(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.kube().get("/api/v1/nodes")["items"]]

    def node_of(self, pod: str, namespace: str) -> str:
        found = self.object("pod", pod, namespace)
        assert found is not None, f"there is no pod {namespace}/{pod}"
        return str(found["spec"]["nodeName"])

    def await_operator(self, timeout_s: float = 60) -> None:
        """Until it is ready."""
        wait = ("rollout", "status", "deploy/faultlab-operator", f"--timeout={timeout_s:.0f}s")
        self.kubectl("-n", SYSTEM_NAMESPACE, *wait, timeout_s=timeout_s + 10)

    def await_agents(self, timeout_s: float = 60) -> None:
        """Until every node's agent is ready."""
        wait = ("rollout", "status", "ds/faultlab-agent", f"--timeout={timeout_s:.0f}s")
        self.kubectl("-n", SYSTEM_NAMESPACE, *wait, timeout_s=timeout_s + 10)

    def _scale_operator(self, replicas: int) -> None:
        self.kubectl("-n", SYSTEM_NAMESPACE, "scale", "deploy/faultlab-operator", f"--replicas={replicas}")

    def _kill_pods(self, selector: str, node: str | None = None) -> None:
        """Without grace: the kubelet ends the processes with SIGKILL."""
        pods = self.objects("pods", SYSTEM_NAMESPACE, selector)
        for pod in pods:
            if node is None or pod["spec"].get("nodeName") == node:
                name = pod["metadata"]["name"]
                kill = ("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
                self.kubectl("-n", SYSTEM_NAMESPACE, *kill)


def on_node(node: str, *command: str, check: bool = True) -> str:
    """Runs a command in the node's container and returns its standard output."""
    ended = subprocess.run(
        ["docker", "exec", node, *command], capture_output=True, text=True, timeout=30, check=False
    )
    assert not check or ended.returncode == 0, f"{node}: {' '.join(command)}: {ended.stderr}"
    return ended.stdout
