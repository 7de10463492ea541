"""Finding a container's process, against a made-up /proc and runtime directory."""

import json
from pathlib import Path

import pytest

from faultlab_chaos.agent.containers import Container, ContainerFinder
from faultlab_chaos.errors import ContainerNotFound

ID = "0123456789abcdef" * 4


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
        assert finder.find([given]) == {given: Container(ID, 41, 1000)}


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_dead_process_is_no_container(proc: Path, tmp_path: Path, state: str) -> None:
    make_process(proc, 41, 1000, state=state)
    make_state(tmp_path / "root", ID, init_process_pid=41)
    finder = ContainerFinder([tmp_path / "root"], proc)
    assert isinstance(finder.find([ID])[ID], ContainerNotFound)
    assert list(finder.running()) == []


def test_a_pid_with_another_start_time_is_another_process(proc: Path, tmp_path: Path) -> None:
    make_process(proc, 41, 2000)
    make_state(tmp_path / "root", ID, init_process_pid=41, init_process_start=1000)
    assert isinstance(ContainerFinder([tmp_path / "root"], proc).find([ID])[ID], ContainerNotFound)


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
    found = ContainerFinder([tmp_path], proc).find([f"containerd://{ID}"])
    assert found == {f"containerd://{ID}": Container(ID, 51, 2000)}


def test_a_short_id_is_not_looked_for_in_cgroups(proc: Path, tmp_path: Path) -> None:
    make_process(proc, 7, 10, "0::/init.scope\n")
    assert isinstance(ContainerFinder([tmp_path], proc).find(["init"])["init"], ContainerNotFound)


@pytest.mark.parametrize("given", ["", "containerd://", "containerd://../../etc", "x://a/b", "x" * 200])
def test_an_id_that_would_leave_the_root_is_refused(proc: Path, tmp_path: Path, given: str) -> None:
    found = ContainerFinder([tmp_path], proc).find([given])[given]
    assert isinstance(found, ContainerNotFound)
    assert "SCHEME://ID" in str(found)


def test_half_written_and_foreign_files_are_passed_over(proc: Path, tmp_path: Path) -> None:
    make_process(proc, 41, 1000)
    make_state(tmp_path / "root", ID, init_process_pid=41)
    (tmp_path / "root" / "half").mkdir()
    (tmp_path / "root" / "half" / "state.json").write_text('{"init_pro')
    (tmp_path / "root" / "file").write_text("")
    assert list(ContainerFinder([tmp_path / "root"], proc).running()) == [Container(ID, 41, 1000)]
