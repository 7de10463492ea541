"""Finding a pod's process, against a made-up /proc and runtime directory."""

import json
from pathlib import Path

import pytest

from faultlab_chaos.agent.containers import Container, ContainerFinder
from faultlab_chaos.contract.wire import PodRef
from faultlab_chaos.errors import ContainerNotFound

ID = "0123456789abcdef" * 4
SANDBOX = "fedcba9876543210" * 4
UID = "09a66aa7-3449-40fa-b19c-92ebe340738f"


def ref(container_id: str, uid: str = "") -> PodRef:
    return PodRef("faultlab", "demo-0", container_id, uid)


def found_by(finder: ContainerFinder, pod: PodRef) -> Container | ContainerNotFound:
    return finder.find([pod])[pod]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    directory = tmp_path / "proc"
    directory.mkdir()
    (directory / "meminfo").write_text("not a process")
    return directory


def make_process(proc: Path, pid: int, started: int, cgroup: str = "0::/", state: str = "S") -> None:
    directory = proc / str(pid)
    directory.mkdir()
    fields = [state, *["0"] * 18, str(started), "0"]
    (directory / "stat").write_text(f"{pid} (a (b) c d) {' '.join(fields)}\n")
    (directory / "cgroup").write_text(cgroup)


def make_state(root: Path, container_id: str, **state: object) -> None:
    (root / container_id).mkdir(parents=True)
    (root / container_id / "state.json").write_text(json.dumps({"id": container_id, **state}))


def test_the_state_file_tells_the_process_under_any_root_and_scheme(proc: Path, tmp_path: Path) -> None:
    make_process(proc, 41, 1000)
    make_state(tmp_path / "second", ID, init_process_pid=41, init_process_start=1000, config={"more": []})
    finder = ContainerFinder([tmp_path / "absent", tmp_path / "second"], proc)
    for given in (ID, f"containerd://{ID}", f"embedded://{ID}"):
        assert finder.find([ref(given)]) == {ref(given): Container(ID, 41, 1000)}


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_dead_process_is_no_container(proc: Path, tmp_path: Path, state: str) -> None:
    make_process(proc, 41, 1000, state=state)
    make_state(tmp_path / "root", ID, init_process_pid=41)
    finder = ContainerFinder([tmp_path / "root"], proc)
    assert isinstance(found_by(finder, ref(ID)), ContainerNotFound)
    assert list(finder.running()) == []


def test_a_pid_with_another_start_time_is_another_process(proc: Path, tmp_path: Path) -> None:
    make_process(proc, 41, 2000)
    make_state(tmp_path / "root", ID, init_process_pid=41, init_process_start=1000)
    assert isinstance(found_by(ContainerFinder([tmp_path / "root"], proc), ref(ID)), ContainerNotFound)


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n",
        f"0::/../../pod1/{ID}\n",
        f"12:pids:/kubepods/pod1/{ID}\n1:name=systemd:/kubepods/pod1/{ID}\n",
    ],
)
def test_without_a_state_file_the_oldest_process_of_its_cgroup_is_taken(
    proc: Path, tmp_path: Path, cgroup: str
) -> None:
    make_process(proc, 7, 10, "0::/init.scope\n")
    make_process(proc, 50, 3000, cgroup)
    make_process(proc, 51, 2000, cgroup)
    found = found_by(ContainerFinder([tmp_path], proc), ref(f"containerd://{ID}", UID))
    assert found == Container(ID, 51, 2000)


# As kubelet 1.34 and containerd 2 write them, in a kind node and outside of one. `{}` is a container.
POD_SLICE = f"kubepods-besteffort-pod{UID.replace('-', '_')}.slice"
CGROUPS = {
    "v2 systemd": f"0::/kubepods.slice/kubepods-besteffort.slice/{POD_SLICE}/cri-containerd-{{}}.scope\n",
    "v2 cgroupfs": f"0::/kubepods/besteffort/pod{UID}/{{}}\n",
    "v2 seen from a cgroup namespace": f"0::/../../{POD_SLICE}/cri-containerd-{{}}.scope\n",
    "v2 in a kind node": f"0::/kubelet.slice/kubelet-{POD_SLICE}/cri-containerd-{{}}.scope\n",
    "v1 systemd in a kind node": (
        f"9:name=systemd:/kubelet.slice/kubelet-kubepods.slice/kubelet-{POD_SLICE}/cri-containerd-{{}}.scope\n"
        f"8:pids:/kubelet.slice/kubelet-kubepods.slice/kubelet-{POD_SLICE}/cri-containerd-{{}}.scope\n"
        "0::/\n"
    ),
    "v1 cgroupfs in a docker container": (
        f"12:pids:/docker/{'a' * 64}/kubelet/kubepods/besteffort/pod{UID}/{{}}\n"
        f"1:name=systemd:/docker/{'a' * 64}/kubelet/kubepods/besteffort/pod{UID}/{{}}\n"
    ),
}


@pytest.mark.parametrize("form", CGROUPS)
def test_a_pod_whose_container_is_being_restarted_is_found_by_its_sandbox(
    proc: Path, tmp_path: Path, form: str
) -> None:
    sandbox, container = (CGROUPS[form].replace("{}", each) for each in (SANDBOX, ID))
    make_process(proc, 7, 10, CGROUPS[form].replace("{}", "b" * 64).replace(UID[:8], "0" * 8))
    make_process(proc, 50, 3000, sandbox)
    finder = ContainerFinder([tmp_path], proc)
    assert found_by(finder, ref(f"containerd://{ID}", UID)) == Container(ID, 50, 3000)
    assert isinstance(found_by(finder, ref(f"containerd://{ID}")), ContainerNotFound)
    assert isinstance(found_by(finder, ref(f"containerd://{ID}", UID.replace("0", "1"))), ContainerNotFound)
    make_process(proc, 60, 4000, container)
    assert found_by(finder, ref(f"containerd://{ID}", UID)) == Container(ID, 60, 4000)


def test_a_short_id_is_not_looked_for_in_cgroups(proc: Path, tmp_path: Path) -> None:
    make_process(proc, 7, 10, "0::/init.scope\n")
    assert isinstance(found_by(ContainerFinder([tmp_path], proc), ref("init", "1")), ContainerNotFound)


@pytest.mark.parametrize("given", ["", "containerd://", "containerd://../../etc", "x://a/b", "x" * 200])
def test_an_id_that_would_leave_the_root_is_refused(proc: Path, tmp_path: Path, given: str) -> None:
    found = found_by(ContainerFinder([tmp_path], proc), ref(given, UID))
    assert isinstance(found, ContainerNotFound)
    assert "SCHEME://ID" in str(found)


def test_half_written_and_foreign_files_are_passed_over(proc: Path, tmp_path: Path) -> None:
    make_process(proc, 41, 1000)
    make_state(tmp_path / "root", ID, init_process_pid=41)
    (tmp_path / "root" / "half").mkdir()
    (tmp_path / "root" / "half" / "state.json").write_text('{"init_pro')
    (tmp_path / "root" / "file").write_text("")
    assert list(ContainerFinder([tmp_path / "root"], proc).running()) == [Container(ID, 41, 1000)]
