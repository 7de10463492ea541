"""What the doctor says on machines of several kinds, and on this one."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from rich.console import Console

from faultlab_cli.doctor import Check, checks, embedded_world_can_run, render, run_doctor
from faultlab_cli.doctor.check import Answer, Machine

GIB = 1 << 30
INSIDE = dict.fromkeys(("namespaces", "bridge", "veth", "setns", "nftables", "netem", "tbf", "ptrace"), "")
UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n'
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\n'
FEDORA = "ID=fedora\n"
APPARMOR = {"kernel__apparmor_restrict_unprivileged_userns": "1"}
REFUSED = Answer(1, "", "unshare: write failed /proc/self/uid_map: Operation not permitted")


class FakeMachine(Machine):
    """A machine on which everything is there, but for what a test takes away."""

    def __init__(self, **changed: Any) -> None:
        self.name = "Linux"
        self.root = False
        self.version = (3, 11, 9)
        self.files: Mapping[str, str] = {
            "/etc/os-release": UBUNTU,
            "/proc/meminfo": "MemAvailable: 8388608 kB",
        }
        self.namespaces = Answer(0, "", "")
        self.inside: Mapping[str, str] | str = INSIDE
        self.lacks: frozenset[str] = frozenset()
        self.engine = Answer(0, "28.1.0", "")
        self.kubectl = "v1.34.1"
        self.disk = 100 * GIB
        self.core_count = 8
        self.commands: list[Sequence[str]] = []
        self.__dict__.update(changed)

    def system(self) -> str:
        return self.name

    def processor(self) -> str:
        return "x86_64"

    def kernel(self) -> str:
        return "6.8.0"

    def python(self) -> tuple[int, int, int]:
        return self.version

    def is_root(self) -> bool:
        return self.root

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def program(self, name: str) -> str | None:
        return None if name in self.lacks else f"/usr/bin/{name}"

    def cores(self) -> int:
        return self.core_count

    def free_disk_bytes(self) -> int:
        return self.disk

    def run(self, command: Sequence[str]) -> Answer:
        self.commands.append(command)
        if command[0] == "unshare":
            if command[-1] == "true":
                return self.namespaces
            text = self.inside if isinstance(self.inside, str) else json.dumps(self.inside)
            return Answer(0, text, "")
        if command[:2] == ["docker", "version"]:
            return self.engine
        if command[0] == "kubectl":
            return Answer(0, json.dumps({"clientVersion": {"gitVersion": self.kubectl}}), "")
        if command[0].endswith("etcd"):
            return Answer(0, "etcd Version: 3.6.1\nGit SHA: 1", "")
        return Answer(0, "version 7.2.4", "")


def found(machine: Machine) -> dict[str, Check]:
    return {check.name: check for check in checks(machine)}


def sysctl_files(**settings: str) -> dict[str, str]:
    paths = {"/proc/sys/" + name.replace("__", "/"): value + "\n" for name, value in settings.items()}
    return {"/etc/os-release": UBUNTU, "/proc/meminfo": "MemAvailable: 8388608 kB", **paths}


def test_a_machine_that_has_everything_is_told_to_do_nothing() -> None:
    all_checks = checks(FakeMachine())
    assert {check.status for check in all_checks} == {"ok"}
    assert [check.fix for check in all_checks if check.fix] == []
    assert embedded_world_can_run(all_checks)


def test_every_check_says_what_it_is_for_and_what_was_found() -> None:
    for machine in (FakeMachine(), FakeMachine(name="Darwin"), FakeMachine(namespaces=REFUSED)):
        assert all(check.what_for and check.found for check in checks(machine))


def test_the_issue_names_are_all_checked() -> None:
    names = " ".join(found(FakeMachine()))
    for name in ("namespaces", "nftables", "netem", "ptrace", "docker", "kind", "kubectl", "helm"):
        assert name in names


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        (
            {"kernel__apparmor_restrict_unprivileged_userns": "1"},
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"user__max_user_namespaces": "0"}, "user.max_user_namespaces=15000"),
        ({"kernel__unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone=1"),
    ],
)
def test_forbidden_user_namespaces_are_traced_to_the_setting_and_one_line_enables_them(
    settings: dict[str, str], setting: str
) -> None:
    files = sysctl_files(**settings)
    machine = FakeMachine(namespaces=REFUSED, files=files)
    check = found(machine)["user namespaces"]
    assert check.status == "missing"
    assert "Operation not permitted" in check.found
    file = "/etc/sysctl.d/60-faultlab.conf"
    assert check.fix == f"echo {setting} | sudo tee {file} && sudo sysctl -p {file}"
    assert not embedded_world_can_run(checks(machine))


def test_a_restriction_that_does_not_hinder_is_not_complained_of() -> None:
    files = sysctl_files(**APPARMOR)
    assert found(FakeMachine(files=files))["user namespaces"].status == "ok"


def test_root_is_tried_without_a_user_namespace_and_needs_no_user_setting() -> None:
    machine = FakeMachine(root=True, files=sysctl_files(**APPARMOR))
    assert found(machine)["namespaces"].status == "ok"
    assert not any("--user" in command for command in machine.commands)
    ordinary = FakeMachine()
    checks(ordinary)
    assert all("--user" in command for command in ordinary.commands if command[0] == "unshare")


def test_a_container_that_forbids_namespaces_is_named_as_the_cause() -> None:
    files = sysctl_files() | {"/.dockerenv": ""}
    assert "--privileged" in found(FakeMachine(root=True, namespaces=REFUSED, files=files))["namespaces"].fix


def test_what_cannot_be_tried_without_namespaces_is_missing_and_says_why() -> None:
    after = found(FakeMachine(namespaces=REFUSED))
    for name in ("bridge and veth", "nftables", "netem", "ptrace"):
        assert after[name].status == "missing"
        assert "namespaces above" in after[name].found
        assert after[name].fix == ""


@pytest.mark.parametrize(
    ("release", "fix"),
    [
        (UBUNTU, "sudo apt install linux-modules-extra-$(uname -r) && sudo modprobe sch_netem"),
        (MINT, "sudo apt install linux-modules-extra-$(uname -r) && sudo modprobe sch_netem"),
        (FEDORA, "sudo dnf install kernel-modules-extra-$(uname -r) && sudo modprobe sch_netem"),
        ("ID=debian\n", "sudo modprobe sch_netem"),
    ],
)
def test_netem_may_be_missing_and_the_command_fits_the_distribution(release: str, fix: str) -> None:
    machine = FakeMachine(inside=INSIDE | {"netem": "not in this kernel"}, files={"/etc/os-release": release})
    check = found(machine)["netem"]
    assert (check.status, check.fix) == ("missing", fix)
    assert embedded_world_can_run(checks(machine))


@pytest.mark.parametrize("name", ["nftables", "bridge", "veth"])
def test_without_what_partitions_are_made_of_the_world_cannot_run(name: str) -> None:
    machine = FakeMachine(inside=INSIDE | {name: "not in this kernel"})
    assert not embedded_world_can_run(checks(machine))


def test_a_probe_that_breaks_is_shown_not_taken_for_success() -> None:
    machine = FakeMachine(inside="Traceback: no module named pyroute2")
    check = found(machine)["nftables"]
    assert check.status == "missing"
    assert "pyroute2" in check.found
    assert not embedded_world_can_run(checks(machine))


@pytest.mark.parametrize(("name", "shown"), [("Darwin", "macOS"), ("Windows", "Windows")])
def test_elsewhere_than_on_linux_it_points_to_kind(name: str, shown: str) -> None:
    machine = FakeMachine(name=name, files={})
    system = found(machine)["operating system"]
    assert shown in system.found
    assert "make kind-up" in system.fix
    assert not any(command[0] == "unshare" for command in machine.commands)
    text = rendered(checks(machine))
    assert "needs Linux" in text
    assert "make kind-up" in text


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10, 1), "missing"), ((3, 13, 0), "ok"), ((3, 14, 0), "limited")]
)
def test_python_versions(version: tuple[int, int, int], status: str) -> None:
    assert found(FakeMachine(version=version))["Python"].status == status


@pytest.mark.parametrize(("version", "status"), [("v1.26.9", "limited"), ("v1.27.0", "ok"), ("v2.0.0", "ok")])
def test_kubectl_is_for_1_27_and_later(version: str, status: str) -> None:
    assert found(FakeMachine(kubectl=version))["kubectl"].status == status


@pytest.mark.parametrize(
    ("engine", "fix"),
    [
        (Answer(1, "", "permission denied while trying to connect"), "sudo usermod -aG docker $USER"),
        (Answer(1, "", "Cannot connect to the Docker daemon"), "sudo systemctl enable --now docker"),
    ],
)
def test_a_client_without_its_engine_is_told_apart(engine: Answer, fix: str) -> None:
    after = found(FakeMachine(engine=engine))
    assert after["docker client"].status == "ok"
    assert after["docker engine"].status == "missing"
    assert after["docker engine"].fix.startswith(fix)


def test_missing_programs_come_with_a_command_and_do_not_hinder_the_embedded_world() -> None:
    machine = FakeMachine(lacks=frozenset({"docker", "kind", "kubectl", "helm"}))
    after = found(machine)
    for name in ("docker client", "kind", "kubectl", "helm"):
        assert after[name].status == "missing"
        assert after[name].fix.startswith(("sudo ", "curl "))
    assert embedded_world_can_run(checks(machine))


def test_a_small_machine_is_limited_not_refused() -> None:
    files = {"/etc/os-release": UBUNTU, "/proc/meminfo": "MemFree: 1 kB\nMemAvailable: 1048576 kB\n"}
    machine = FakeMachine(files=files, disk=GIB, core_count=1)
    after = found(machine)
    assert [after[name].status for name in ("memory", "disk", "cores")] == ["limited"] * 3
    assert embedded_world_can_run(checks(machine))


def test_a_command_is_printed_on_one_line_however_narrow_the_terminal() -> None:
    machine = FakeMachine(namespaces=REFUSED, files=sysctl_files(**APPARMOR))
    fix = found(machine)["user namespaces"].fix
    assert fix in rendered(checks(machine), width=50)


def test_on_this_machine_it_agrees_with_its_exit_code() -> None:
    out = io.StringIO()
    code = run_doctor(Console(file=out, width=60), as_json=True)
    document = json.loads(out.getvalue())
    assert code == (0 if document["embeddedWorld"] else 1)
    keys = {"name", "whatFor", "status", "found", "fix", "required"}
    assert all(set(check) == keys for check in document["checks"])
    python = next(check for check in document["checks"] if check["name"] == "Python")
    assert python["found"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


def rendered(found_checks: Sequence[Check], width: int = 100) -> str:
    out = io.StringIO()
    render(Console(file=out, width=width), found_checks)
    return out.getvalue()
