"""Our Raft against etcd 3.6.8 and PySyncObj, side by side in one run, on loopback with real fsync.

    python benchmarks/raft.py --json results/benchmarks/raft.json          everything below but `steady`
    python benchmarks/raft.py --only load kill --quick                     a smoke run of two parts
    python benchmarks/raft.py --only steady --steady 600                   elections in ten minutes of load

Rounds alternate between the systems; medians count. Needs redis-benchmark, and etcd's etcd, etcdctl and
benchmark 3.6.8 in PATH or Go to build them. Parts: load (writes and linearizable reads at 1, 50 and 500
connections, mixed), redis (redis-benchmark's own tests against ours), kill, partition and transfer (of
the leader), replay (a start with 1,000,000 entries), memory (of 100,000 keys), members (1, 3, 5, 7),
values (64 bytes to 64 KiB), steady.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from side_by_side import targets
from side_by_side.parts import PARTS, SYSTEMS, Options, Run
from side_by_side.processes import BenchmarkError, file_system, median_sync_ms, signals_as_interrupts

_NO_DISK = ("tmpfs", "ramfs")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help="these parts alone")
    parser.add_argument("--without", nargs="+", choices=SYSTEMS[1:], default=[], metavar="SYSTEM")
    parser.add_argument("--quick", action="store_true", help="a smoke run: its numbers say nothing")
    parser.add_argument("--load-rounds", type=int, default=3, help="of each load on each system")
    parser.add_argument("--seconds", type=float, default=3.0, help="about so long takes a round of load")
    parser.add_argument("--rounds", type=int, default=50, help="of kill and partition")
    parser.add_argument("--steady", type=float, default=0.0, metavar="SECONDS", help="of full load")
    parser.add_argument("--dir", type=Path, help="on the disk to measure (default: for temporary files)")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    parts = arguments.only or [part for part in PARTS if part != "steady" or arguments.steady]
    options = Options(
        quick=arguments.quick,
        load_rounds=1 if arguments.quick else arguments.load_rounds,
        seconds=0.5 if arguments.quick else arguments.seconds,
        rounds=min(3, arguments.rounds) if arguments.quick else arguments.rounds,
        steady_s=arguments.steady or 600.0,
        without=tuple(arguments.without),
    )
    console = Console(width=max(140, shutil.get_terminal_size().columns), highlight=False)
    try:
        run = _measure(options, parts, arguments.dir, console)
    except (BenchmarkError, subprocess.SubprocessError) as error:
        sys.exit(f"raft.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    targets.show_verdicts(console, run.verdicts)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(run.document(), indent=1))
    missed = any(verdict.met is False for verdict in run.verdicts)
    if run.failed or (arguments.check and missed):
        sys.exit(1)


def _measure(options: Options, parts: list[str], parent: Path | None, console: Console) -> Run:
    """Runs the parts, in a directory that is removed."""
    if shutil.which("redis-benchmark") is None:
        raise BenchmarkError(
            "redis-benchmark is not in PATH; on Debian and Ubuntu: apt-get install redis-tools"
        )
    with signals_as_interrupts(), tempfile.TemporaryDirectory(dir=parent, prefix="raft-bench-") as name:
        directory = Path(name)
        kind = file_system(directory)
        if kind in _NO_DISK:
            raise BenchmarkError(f"{directory} is on {kind}, where fsync costs nothing; give --dir on a disk")
        console.print(
            f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}; {kind},"
            f" append and fdatasync {median_sync_ms(directory):.2f} ms (median)"
        )
        run = Run(options, directory, console)
        begun = time.monotonic()
        for part in parts:
            run.part(part)
        console.print(f"{time.monotonic() - begun:.0f} s in all")
        return run


if __name__ == "__main__":
    main()
