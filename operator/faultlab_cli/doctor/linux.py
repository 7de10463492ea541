"""What the kernel lets this user do: namespaces, networks, packet filters. All found by trying."""

import json
import sys
from collections.abc import Mapping
from typing import Final

from faultlab_cli.doctor.check import Check, Machine

_SYSCTL_FILE: Final = "/etc/sysctl.d/60-faultlab.conf"
_WORLD: Final = "the embedded world"
_NOT_TRIED: Final = "not tried: it needs the namespaces above"


def linux_checks(machine: Machine) -> list[Check]:
    """Namespaces first; the rest is tried inside them and unknown without."""
    tried, complaint = _try_inside(machine)
    checks = [_namespaces(machine, complaint)]
    checks += [
        _inside(
            tried,
            ("bridge", "veth"),
            "bridge and veth",
            "the embedded world: pods on one network",
            "sudo modprobe -a bridge veth",
            required=True,
        ),
        _inside(
            tried,
            ("nftables",),
            "nftables",
            "NetworkPartition: cuts that the kernel ends by itself",
            "sudo modprobe nf_tables",
            required=True,
        ),
        _inside(
            tried,
            ("netem",),
            "netem",
            "NetworkFault: delay, loss, reordering (partitions do without)",
            _netem_fix(machine),
        ),
        _ptrace(machine, tried),
    ]
    return checks


def unshare_command(machine: Machine) -> list[str]:
    """How the embedded world's namespaces are made: as root without a user namespace."""
    user = [] if machine.is_root() else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]


def _try_inside(machine: Machine) -> tuple[Mapping[str, str] | None, str]:
    """Name -> complaint of everything tried inside; or None and why nothing could be tried."""
    unshare = unshare_command(machine)
    plain = machine.run([*unshare, "true"])
    if plain.code != 0:
        return None, plain.errors.splitlines()[-1] if plain.errors else f"unshare ended with {plain.code}"
    answer = machine.run([*unshare, sys.executable, "-m", "faultlab_cli.doctor.probe"])
    try:
        return json.loads(answer.output), ""
    except ValueError:
        return {"probe": (answer.errors or answer.output or "no output")[-500:]}, ""


def _namespaces(machine: Machine, complaint: str) -> Check:
    name = "namespaces" if machine.is_root() else "user namespaces"
    if not complaint:
        who = "tried as root, work" if machine.is_root() else "tried as this user, work"
        return Check(name, "ok", _WORLD, who, required=True)
    return Check(name, "missing", _WORLD, complaint, _namespace_fix(machine), required=True)


def _namespace_fix(machine: Machine) -> str:
    """The one setting that forbids them here; root runs everything without any of these."""
    if machine.program("unshare") is None:
        return machine.install("sudo apt install util-linux", "sudo dnf install util-linux")
    if not machine.is_root():
        if _setting(machine, "user.max_user_namespaces") == "0":
            return _sysctl("user.max_user_namespaces=15000")
        if _setting(machine, "kernel.unprivileged_userns_clone") == "0":
            return _sysctl("kernel.unprivileged_userns_clone=1")
        if _setting(machine, "kernel.apparmor_restrict_unprivileged_userns") == "1":
            return _sysctl("kernel.apparmor_restrict_unprivileged_userns=0")
    if machine.read("/.dockerenv") is not None or machine.read("/run/.containerenv") is not None:
        return "this is a container that forbids namespaces: start it with `docker run --privileged ...`"
    if machine.is_root():
        return "this root lacks CAP_SYS_ADMIN: run on the machine itself, or in a privileged container"
    return "run faultlab as root: sudo .venv/bin/faultlab run ..."


def _setting(machine: Machine, name: str) -> str:
    return (machine.read("/proc/sys/" + name.replace(".", "/")) or "").strip()


def _sysctl(setting: str) -> str:
    """Sets it now and at every boot."""
    return f"echo {setting} | sudo tee {_SYSCTL_FILE} && sudo sysctl -p {_SYSCTL_FILE}"


def _inside(
    tried: Mapping[str, str] | None,
    names: tuple[str, ...],
    title: str,
    what_for: str,
    fix: str,
    *,
    required: bool = False,
) -> Check:
    if tried is None:
        return Check(title, "missing", what_for, _NOT_TRIED, required=required)
    if "probe" in tried:
        return Check(title, "missing", what_for, tried["probe"], "make install", required=required)
    complaints = [tried.get(name, "not tried") for name in names]
    if any(complaints):
        return Check(title, "missing", what_for, "; ".join(filter(None, complaints)), fix, required=required)
    return Check(title, "ok", what_for, "tried, works", required=required)


def _netem_fix(machine: Machine) -> str:
    """Debian has the module in its kernel's package; the others keep it in one of its own."""
    load = "sudo modprobe sch_netem"
    return {
        "ubuntu": f"sudo apt install linux-modules-extra-$(uname -r) && {load}",
        "fedora": f"sudo dnf install kernel-modules-extra-$(uname -r) && {load}",
    }.get(machine.distribution(), load)


def _ptrace(machine: Machine, tried: Mapping[str, str] | None) -> Check:
    """Yama's level 1 asks for a child or CAP_SYS_PTRACE, which the agent has; 3 forbids it to everybody."""
    what_for = "ClockFault: shifts the clock of a running process"
    level = _setting(machine, "kernel.yama.ptrace_scope")
    if level == "3":
        fix = f"echo kernel.yama.ptrace_scope=1 | sudo tee {_SYSCTL_FILE} && sudo reboot"
        return Check("ptrace", "missing", what_for, "kernel.yama.ptrace_scope=3 forbids it to everybody", fix)
    return _inside(tried, ("ptrace",), "ptrace", what_for, _sysctl("kernel.yama.ptrace_scope=1"))
