"""etcd's own programs: from PATH, else built from the Go module proxy into a cache directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .processes import BenchmarkError

VERSION = "3.6.8"
MODULES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
    "benchmark": "go.etcd.io/etcd/v3/tools/benchmark",
}
_STEP_TIMEOUT_S = 900


def find_or_build() -> dict[str, str]:
    """Paths of the programs by name; BenchmarkError says what is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "faultlab" / f"etcd-{VERSION}"
    found = {}
    for name, package in MODULES.items():
        built = cache / "bin" / name
        path = shutil.which(name)
        if path is None or not _is_right(name, path):
            if not built.exists():
                _build(name, package, cache)
            path = str(built)
        found[name] = path
    return found


def _is_right(name: str, path: str) -> bool:
    """Any program may be called `benchmark`, and any etcd be installed."""
    arguments = {"etcd": ["--version"], "etcdctl": ["version"], "benchmark": ["--help"]}[name]
    wanted = "etcd3" if name == "benchmark" else VERSION
    run = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False)
    return wanted in run.stdout


def _build(name: str, package: str, cache: Path) -> None:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise BenchmarkError(
            f"{name} of etcd {VERSION} is not in PATH, and neither is go to build it. Install Go 1.25 or"
            f" later, or put etcd, etcdctl and benchmark {VERSION} into PATH"
        )
    print(f"building {name} {VERSION} from {package}, once, into {cache}", file=sys.stderr, flush=True)
    module = cache / "modules" / name
    module.mkdir(parents=True, exist_ok=True)
    (module / "go.mod").write_text(f"module faultlab/{name}\n\ngo 1.25\n")
    unfinished = cache / "bin" / f"{name}.new"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    for step in (
        ["get", "-tool", f"{package}@v{VERSION}"],
        ["build", "-trimpath", "-ldflags", "-s -w", "-o", str(unfinished), package],
    ):
        run = subprocess.run(
            [go, *step],
            cwd=module,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_STEP_TIMEOUT_S,
            check=False,
        )
        if run.returncode != 0:
            raise BenchmarkError(f"go {step[0]} of {package} failed: {run.stderr.strip()[-1000:]}")
    unfinished.rename(cache / "bin" / name)
