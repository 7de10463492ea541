"""The life of worlds: up, down, restart, holders, and what is left after a SIGKILL of any part: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from faultlab_embedded.world import (
    Image,
    ImageTable,
    NotLinux,
    NotRunning,
    StartFailed,
    WorldInfo,
    default_table,
    down,
    hold,
    status,
    up,
)
from faultlab_embedded.world.home import Home

pytestmark = pytest.mark.e2e
Until = Callable[..., Any]
Start = Callable[..., Any]
SLEEPER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "static", "namespace": "default"},
    "spec": {
        "containers": [{"name": "c", "image": "faultlab/faultlab:0.1.0", "command": ["sleep", "1000"]}],
        "terminationGracePeriodSeconds": 0,
    },
}
HOLDER = """
import sys, time
from pathlib import Path
from faultlab_embedded.world import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1000)
"""


def inhabitants(info: WorldInfo) -> set[int]:
    """Supervisor, world and everything in the world's PID namespace, asked while the world lives."""
    wanted = os.readlink(f"/proc/{info.world_pid}/ns/pid")
    found = {info.pid, info.world_pid}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                levels = next(
                    line for line in (process / "status").read_text().splitlines() if line.startswith("NSpid")
                )
                if os.readlink(process / "ns/pid") == wanted or len(levels.split()) > 3:
                    found.add(int(process.name))
    return {pid for pid in found if _below(pid, info.pid)}


def _below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def alive(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        with suppress(OSError):
            if ") Z" not in Path(f"/proc/{pid}/stat").read_text():
                found.add(pid)
    return found


def namespaces(info: WorldInfo) -> set[str]:
    return {
        os.readlink(f"/proc/{pid}/ns/{kind}") for pid in inhabitants(info) for kind in ("net", "mnt", "pid")
    }


def in_use() -> set[str]:
    """Namespaces that any process of this machine is in."""
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            for kind in ("net", "mnt", "pid"):
                with suppress(OSError):
                    found.add(os.readlink(process / "ns" / kind))
    return found


def assert_nothing_left(pids: set[int], spaces: set[str], home: Path, until: Until) -> None:
    until(lambda: not alive(pids), f"processes go: {pids}", deadline_s=5)
    ours = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "pid")}
    until(lambda: not (spaces - ours) & in_use(), "namespaces go", deadline_s=5)
    assert str(home) not in Path("/proc/self/mounts").read_text()
    assert status(home) is None


@pytest.fixture
def home(tmp_path: Path) -> Any:
    """A directory for a world that is gone after the test, whatever happened."""
    place = tmp_path / "home"
    yield place
    down(place, purge=True)


def test_static_pods_run_when_up_returns_and_objects_are_there(home: Path, start_world: Start) -> None:
    crd_first = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "mine"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}
    began = time.monotonic()
    api = start_world(home, objects=[crd_first, namespace], static_pods=[SLEEPER])
    took = time.monotonic() - began
    assert "running" in api.container("static")["state"]
    assert api.find("/api/v1/namespaces/mine/configmaps/cm")
    assert Path(api.info.kubeconfig).stat().st_mode & 0o777 == 0o600
    assert api.info.api_url.startswith("https://127.0.0.1:")
    assert status(home) == api.info
    assert up(home) == api.info, "a second up finds the first"
    assert took < 15


def test_programs_below_tmp_are_seen_in_pods_that_have_a_tmp_of_their_own(
    home: Path, tmp_path: Path, start_world: Start
) -> None:
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("the tests' files are not below /tmp")
    programs = tmp_path / "checkout" / "bin"
    programs.mkdir(parents=True)
    (programs / "hello").write_text("#!/bin/sh\necho hello; ls /tmp\n")
    (programs / "hello").chmod(0o755)
    image = Image("mine:*", (str(programs),), keep_visible=(str(programs.parent),), command=("hello",))
    api = start_world(home, images=ImageTable((image,)))
    mount = {"image": "mine", "volumeMounts": [{"name": "t", "mountPath": "/tmp"}]}
    for name, spec in (("plain", {"container": {"image": "mine"}}), ("volume", {"container": mount})):
        text = api.output(name, [], volumes=[{"name": "t", "emptyDir": {}}], **spec)
        assert text.split() == ["hello", programs.relative_to("/tmp").parts[0]]


def test_static_pod_comes_back_when_deleted(home: Path, start_world: Start, until: Until) -> None:
    api = start_world(home, static_pods=[SLEEPER])
    before = api.pod("static")
    assert "kubernetes.io/config.mirror" in before["metadata"]["annotations"]
    api.delete("pods", "static", 0)
    until(lambda: (api.pod("static") or before)["metadata"]["uid"] != before["metadata"]["uid"])
    until(lambda: "running" in api.container("static").get("state", {}))


def test_down_ends_stubborn_pods_within_seconds_and_keeps_the_state(
    home: Path, start_world: Start, until: Until
) -> None:
    api = start_world(home)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    api.create("persistentvolumeclaims", "PersistentVolumeClaim", "disk", spec=claim)
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
    mount = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
    command = ["sh", "-c", "echo start >> /data/f; sleep 1000"]
    spec = {"volumes": volumes, "container": mount, "terminationGracePeriodSeconds": 60}
    api.run("keeper", command, restartPolicy="Always", **spec)
    api.run("once", ["sleep", "1000"])
    until(lambda: api.phase("keeper") == api.phase("once") == "Running")
    pids, spaces = inhabitants(api.info), namespaces(api.info)
    assert len(pids) >= 4
    began = time.monotonic()
    assert down(home)
    assert time.monotonic() - began < 5
    assert_nothing_left(pids, spaces, home, until)
    assert down(home) is False
    again = start_world(home)
    until(lambda: again.container("keeper").get("ready"), "the pod runs again")
    assert again.container("keeper")["restartCount"] == 1
    assert again.phase("once") == "Failed", "restartPolicy Never is never run twice"
    until(lambda: next((home / "claims").glob("*/f")).read_text() == "start\nstart\n", "its data is kept")


def test_world_whose_launcher_was_killed_ends_by_itself(home: Path, start_world: Start, until: Until) -> None:
    start_world(home.with_name("probe"))  # skips where namespaces are forbidden
    down(home.with_name("probe"), purge=True)
    script = (
        "import sys\nfrom pathlib import Path\nfrom faultlab_embedded.world import up\nup(Path(sys.argv[1]))"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script, str(home)])
    place = Home(home)
    until(lambda: place.is_alive(), "the supervisor has begun")
    assert status(home) is None
    launcher.kill()
    launcher.wait()
    until(lambda: not place.is_alive(), "it ends")
    assert not place.info.exists()


@pytest.mark.parametrize("victim", ["pid", "world_pid"])
def test_sigkill_of_supervisor_or_world_leaves_nothing(
    victim: str, home: Path, start_world: Start, until: Until
) -> None:
    api = start_world(home, static_pods=[SLEEPER])
    pids, spaces = inhabitants(api.info), namespaces(api.info)
    assert len(pids) >= 3
    os.kill(getattr(api.info, victim), signal.SIGKILL)
    assert_nothing_left(pids, spaces, home, until)
    again = start_world(home, static_pods=[SLEEPER])
    assert "running" in again.container("static")["state"]


def test_sigkill_of_the_only_holder_ends_a_world_that_is_not_persistent(
    home: Path, start_world: Start, until: Until
) -> None:
    api = start_world(home, static_pods=[SLEEPER], persist=False)
    pids, spaces = inhabitants(api.info), namespaces(api.info)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(home)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert_nothing_left(pids, spaces, home, until)
    until(lambda: {entry.name for entry in home.iterdir()} <= {"world.log", "alive", "starting"})


def test_last_of_two_holders_ends_the_world(home: Path, start_world: Start) -> None:
    start_world(home, persist=False)
    with hold(home):
        with hold(home) as info:
            assert info.persist is False
        assert status(home) is not None
    assert status(home) is None
    assert not (home / "state").exists()


def test_up_while_a_world_is_ending_waits_and_starts_the_next(home: Path, start_world: Start) -> None:
    first = start_world(home, static_pods=[SLEEPER], persist=False)
    with hold(home):
        ending = threading.Thread(target=down, args=(home,))
        ending.start()
        while status(home) is not None:
            time.sleep(0.01)
        second = start_world(home)
        ending.join()
    assert second.info.world_pid != first.info.world_pid
    assert status(home) == second.info


def test_state_from_before_outlives_a_world_that_is_not_persistent(home: Path, start_world: Start) -> None:
    api = start_world(home)
    api.create("configmaps", "ConfigMap", "mine")
    down(home)
    start_world(home, persist=False)
    with hold(home):
        pass
    assert start_world(home).find("/api/v1/namespaces/default/configmaps/mine")


def test_temporary_state_does_not_come_back_after_a_sigkill(
    home: Path, start_world: Start, until: Until
) -> None:
    api = start_world(home, persist=False)
    api.create("configmaps", "ConfigMap", "mine")
    os.kill(api.info.pid, signal.SIGKILL)
    until(lambda: status(home) is None)
    again = start_world(home)
    assert again.find("/api/v1/namespaces/default/configmaps/mine") is None


def test_refused_namespaces_are_explained(tmp_path: Path) -> None:
    script = "import sys, pathlib\nfrom faultlab_embedded.world import up\nup(pathlib.Path(sys.argv[1]))"
    shell = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    command = ["unshare", "-Ur", "sh", "-c", shell, "-", sys.executable, "-c", script, str(tmp_path / "home")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare failed" in ended.stderr:
        pytest.skip("this machine forbids user namespaces")
    assert "NamespacesForbidden" in ended.stderr
    assert "kernel.apparmor_restrict_unprivileged_userns" in ended.stderr
    assert "faultlab doctor" in ended.stderr


def test_asking_for_a_persistent_world_makes_it_one(home: Path, start_world: Start) -> None:
    start_world(home, persist=False)
    with hold(home):
        assert up(home, persist=True).persist is True
    assert status(home) is not None


def test_two_ups_at_once_are_one_world(home: Path, start_world: Start) -> None:
    start_world(home.with_name("probe"))  # skips where namespaces are forbidden
    down(home.with_name("probe"), purge=True)
    infos: list[WorldInfo] = []
    table = default_table("faultlab/faultlab:*")
    threads = [threading.Thread(target=lambda: infos.append(up(home, images=table))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(infos) == 2
    assert infos[0] == infos[1]


def test_taken_port_is_named(home: Path, start_world: Start) -> None:
    api = start_world(home)
    port = int(api.info.api_url.rpartition(":")[2])
    with pytest.raises(StartFailed, match=f"port {port}"):
        up(home.with_name("other"), api_port=port)


def test_bad_object_stops_the_start_with_its_reason(home: Path, start_world: Start) -> None:
    nameless = {"apiVersion": "v1", "kind": "NoSuchKind", "metadata": {"name": "x"}}
    with pytest.raises(StartFailed, match="NoSuchKind"):
        start_world(home, objects=[nameless])
    assert status(home) is None


def test_holding_without_a_world_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="faultlab up"), hold(tmp_path / "nowhere"):
        pass


def test_other_systems_are_told_about_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(NotLinux, match="kind"):
        up(tmp_path / "home")


def test_api_asks_for_its_token(home: Path, start_world: Start) -> None:
    api = start_world(home)
    api._token = "wrong"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        api.call("GET", "/api/v1/pods")
