"""charts/kind.sh among stand-ins for docker, kind, kubectl and helm that write down how they are called."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faultlab_cli.doctor.check import Answer, Machine
from faultlab_cli.doctor.programs import program_checks

ROOT = Path(__file__).parents[3]
TOOLS = ("docker", "kind", "kubectl", "helm")
NEEDED = (
    "bash",
    "sed",
    "tail",
    "grep",
    "cat",
    "uname",
    "tr",
    "dirname",
    "mkdir",
    "date",
    "sort",
    "git",
    "timeout",
    "sleep",
    "touch",
    "rm",
)

# Each answers what the script asks; STATE holds what there is.
STAND_IN = """#!/bin/bash
name=${0##*/}
echo "$name $*" >>"$STATE/calls"
case "$name $*" in
  "docker version"*) [ -z "$ENGINE_SAYS" ] || { echo "$ENGINE_SAYS" >&2; exit 1; }; echo 28.0.0 ;;
  "docker port"*30080*) echo "127.0.0.1:${MAPPED:-8080}" ;;
  "docker port"*) echo 127.0.0.1:8089 ;;
  "docker image inspect"*) echo sha256:1234 ;;
  "docker build"*) [ -z "$BUILD_FAILS" ] || { echo "no space left on device"; exit 1; } ;;
  "kind get clusters") cat "$STATE/clusters" 2>/dev/null ;;
  "kind create cluster"*)
    cat >"$STATE/config"; echo "$4" >>"$STATE/clusters"
    [ -z "$SLOW" ] || { touch "$STATE/creating"; sleep 30; } ;;
  "kind delete cluster"*) rm -f "$STATE/clusters" ;;
  "kubectl "*" wait "*) [ -z "$NODES_DOWN" ] || { echo "timed out waiting"; exit 1; } ;;
  "kubectl "*/readyz) [ -z "$API_DEAD" ] ;;
  "kubectl "*) [ -z "$API_DEAD" ] || { echo "connection refused" >&2; exit 1; } ;;
  "helm upgrade"*) [ -z "$HELM_SAYS" ] || { echo "$HELM_SAYS"; exit 1; } ;;
esac
"""


class Bench:
    """A copy of what the script reads, and a PATH with nothing else on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.bin = folder / "repo", folder / "state", folder / "bin"
        shutil.copytree(ROOT / "charts", self.folder / "charts", ignore=shutil.ignore_patterns("faultlab"))
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        self.state.mkdir()
        self.bin.mkdir()
        for name in NEEDED:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)
        for name in TOOLS:
            (self.bin / name).write_text(STAND_IN)
            (self.bin / name).chmod(0o755)

    def start(self, command: str, **environment: str) -> subprocess.Popen[str]:
        # Ports of its own, so that what runs on this machine does not matter.
        ports = {"FAULTLAB_PAGES_PORT": str(free_port()), "FAULTLAB_LOCUST_PORT": str(free_port())}
        env = {
            "PATH": str(self.bin),
            "STATE": str(self.state),
            "HOME": str(self.folder),
            **ports,
            **environment,
        }
        return subprocess.Popen(
            [str(self.bin / "bash"), "charts/kind.sh", command],
            cwd=self.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str, **environment: str) -> tuple[int, str]:
        process = self.start(command, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def calls(self, start: str = "") -> list[str]:
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(start)]

    def has_cluster(self, name: str = "faultlab") -> None:
        (self.state / "clusters").write_text(f"{name}\n")


class BareLinux(Machine):
    """This machine, with none of the programs on it."""

    def program(self, _name: str) -> str | None:
        return None

    def run(self, _command: object) -> Answer:
        return Answer(127, "", "not there")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_up_makes_builds_loads_installs_in_this_order(bench: Bench) -> None:
    code, output = bench.run("up")
    assert code == 0, output
    wanted = ("kind create", "docker build", "kind load", "helm upgrade", "kubectl config set-context")
    made = [start for call in bench.calls() for start in wanted if call.startswith(start)]
    assert made == list(wanted)
    assert "--kube-context kind-faultlab" in bench.calls("helm upgrade")[0]
    assert "kind-faultlab --namespace faultlab" in bench.calls("kubectl config set-context")[0]
    assert "kubectl apply -f chaos/scenarios/" in output
    assert "http://localhost:8080" in output
    assert "ready after" in output


def test_up_on_a_cluster_that_is_there_upgrades_it(bench: Bench) -> None:
    bench.has_cluster()
    with taken_port() as port:  # by that cluster, for instance
        code, output = bench.run("up", FAULTLAB_PAGES_PORT=str(port))
    assert code == 0, output
    assert not bench.calls("kind create")
    assert len(bench.calls("helm upgrade")) == 1


def test_pods_carry_the_images_id_and_the_ports_as_the_cluster_maps_them(bench: Bench) -> None:
    bench.has_cluster()
    assert bench.run("up", MAPPED="18080")[0] == 0
    helm = bench.calls("helm upgrade")[0]
    for pod in ("operator", "agent"):
        assert rf"{pod}.podAnnotations.faultlab\.dev/image-id=sha256:1234" in helm
    assert "pages.url=http://localhost:18080,pages.locustURL=http://localhost:8089" in helm


def test_ports_name_and_node_image_come_from_the_environment(bench: Bench) -> None:
    pages, locust = free_port(), free_port()
    code, output = bench.run(
        "up",
        KIND_CLUSTER="other",
        KIND_NODE_IMAGE="kindest/node:v9",
        FAULTLAB_PAGES_PORT=str(pages),
        FAULTLAB_LOCUST_PORT=str(locust),
    )
    assert code == 0, output
    create = bench.calls("kind create")[0]
    assert "--name other" in create
    assert "--image kindest/node:v9" in create
    config = (bench.state / "config").read_text()
    assert f"hostPort: {pages}," in config
    assert f"hostPort: {locust}," in config
    assert "--kube-context kind-other" in bench.calls("helm upgrade")[0]


@pytest.mark.parametrize("variable", ["FAULTLAB_PAGES_PORT", "FAULTLAB_LOCUST_PORT"])
def test_a_taken_port_is_told_before_anything_is_made(bench: Bench, variable: str) -> None:
    with taken_port() as port:
        code, output = bench.run("up", **{variable: str(port)})
    assert code == 1
    assert f"port {port} of this machine is taken" in output
    assert f"make kind-up {variable}=" in output
    assert not bench.calls("kind create")


def test_every_missing_program_is_named_with_the_doctors_command(bench: Bench) -> None:
    for name in TOOLS:
        (bench.bin / name).unlink()
    code, output = bench.run("up")
    assert code == 1
    if shutil.which("dnf") or not Path("/etc/debian_version").exists():
        pytest.skip("the doctor's commands are of another family of systems here")
    fixes = {check.name: check.fix for check in program_checks(BareLinux())}
    for name in TOOLS:
        fix = fixes["docker client" if name == "docker" else name]
        assert f"missing: {name}\n  get it:  {fix}\n" in output


@pytest.mark.parametrize(
    ("says", "fix"),
    [
        ("Cannot connect to the Docker daemon. Is it running?", "systemctl enable --now docker"),
        ("permission denied while trying to connect", "usermod -aG docker"),
    ],
)
def test_an_engine_that_does_not_answer_is_told_with_what_to_do(bench: Bench, says: str, fix: str) -> None:
    code, output = bench.run("up", ENGINE_SAYS=says)
    assert code == 1
    assert says in output
    assert fix in output
    assert not bench.calls("kind create")


def test_a_step_that_fails_ends_it_and_shows_what_was_said(bench: Bench) -> None:
    code, output = bench.run("up", BUILD_FAILS="1")
    assert code == 1
    assert "no space left on device" in output
    assert not bench.calls("kind load")


def test_a_release_held_by_a_dead_helm_is_told_with_the_way_out(bench: Bench) -> None:
    bench.has_cluster()
    said = "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress"
    code, output = bench.run("up", HELM_SAYS=said)
    assert code == 1
    assert "delete secret -l 'owner=helm,name=faultlab,status in (pending-install" in output


def test_a_cluster_whose_api_is_dead_is_not_built_for(bench: Bench) -> None:
    bench.has_cluster()
    code, output = bench.run("up", API_DEAD="1")
    assert code == 1
    assert "make kind-down kind-up" in output
    assert not bench.calls("docker build")


def test_nodes_that_never_get_ready_are_told_with_the_kernels_bound(bench: Bench) -> None:
    code, output = bench.run("up", NODES_DOWN="1")
    assert code == 1
    assert "timed out waiting" in output
    assert not bench.calls("kind load")
    bound = Path("/proc/sys/fs/inotify/max_user_instances")
    if bound.exists():
        assert ("sysctl fs.inotify" in output) == (int(bound.read_text()) < 512)


def test_an_interrupted_creation_leaves_no_half_made_cluster(bench: Bench) -> None:
    process = bench.start("up", SLOW="1")
    deadline = time.monotonic() + 20
    while not (bench.state / "creating").exists():
        assert time.monotonic() < deadline, "the creation never began"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert bench.calls("kind delete cluster --name faultlab")
    assert not (bench.state / "clusters").exists()
    assert "interrupted" in output


def test_down_deletes_the_cluster_that_is_there_and_no_other(bench: Bench) -> None:
    bench.has_cluster("faultlab-of-somebody")
    code, output = bench.run("down")
    assert code == 0
    assert "there is no cluster faultlab" in output
    assert not bench.calls("kind delete")
    bench.has_cluster()
    assert bench.run("down")[0] == 0
    assert bench.calls("kind delete") == ["kind delete cluster --name faultlab"]


def test_load_wants_a_cluster_and_leaves_the_release_alone(bench: Bench) -> None:
    code, output = bench.run("load")
    assert code == 1
    assert "make kind-up" in output
    bench.has_cluster()
    assert bench.run("load")[0] == 0
    assert bench.calls("kind load docker-image faultlab/faultlab:")
    assert not bench.calls("helm")


def test_logs_are_collected_as_far_as_anything_answers(bench: Bench) -> None:
    (bench.bin / "helm").unlink()
    code, output = bench.run("logs", API_DEAD="1", ENGINE_SAYS="gone")
    assert code == 0, output
    folder = next((bench.folder / "results/kind").glob("logs-faultlab-*"))
    assert "connection refused" in (folder / "cluster/events.txt").read_text()
    assert "helm/status.txt" in (folder / "failed.txt").read_text()
    assert bench.calls("kind export logs")


def test_no_question_of_the_logs_asks_for_secrets(bench: Bench) -> None:
    assert bench.run("logs")[0] == 0
    assert not [call for call in bench.calls("kubectl") if "secret" in call]
