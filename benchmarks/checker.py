"""How long the checker takes for 100,000 operations, and how it compares with Porcupine.

    python benchmarks/checker.py --rounds 5 --json results/benchmarks/checker.json

The histories are made up by seed: 20 processes, 1,000 keys, 1 % info, and one key with 5 % of all
operations beside its share; once with each value written once and once with five values, and on one key with
all 20 processes at once. Expected: under 10 s for each, file reading included. With Go on the PATH
the same files go through Porcupine (github.com/anishathalye/porcupine), which uses all cores; where it
does not come to a verdict within 30 s there is no ratio.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from faultlab.checker import check
from faultlab.history import read_events, write_events
from faultlab.history.synthetic import Workload, counter, generate, string

PORCUPINE = Path(__file__).parent / "porcupine"
TIMEOUT_S = 30.0
EXPECTED_S = 10.0

TARGET = Workload(operations=100_000, processes=20, keys=1000, hot=0.05, info=0.01)
HISTORIES: dict[str, tuple[str, Workload]] = {
    "each value once": ("cas-register", TARGET),
    "five values": ("cas-register", Workload(**{**vars(TARGET), "values": 5})),
    "one key": ("cas-register", Workload(**{**vars(TARGET), "operations": 5_000, "keys": 1})),
    "strings": ("append", Workload(**{**vars(TARGET), "apply": string,
                                      "weights": {"get": 40, "append": 55, "put": 5}})),
    "commands": ("kv", Workload(**{**vars(TARGET), "apply": counter,
                                   "weights": {"get": 40, "set": 30, "incr": 20, "del": 10}})),
}  # fmt: skip


def ours(path: Path, model: str) -> dict[str, Any]:
    """One round of our own checker, from the file to the verdict."""
    begun = time.perf_counter()
    events = list(read_events(path))
    read = time.perf_counter()
    found = check(events, model, time_limit_s=TIMEOUT_S)
    return {
        "result": found.result,
        "operations": found.operations,
        "readSeconds": read - begun,
        "checkSeconds": time.perf_counter() - read,
    }


def build_porcupine(folder: Path) -> tuple[Path | None, str]:
    """The driver program, or None and the reason why there is none."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return None, "Go is not on the PATH"
    program = folder / "porcupine"
    built = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=PORCUPINE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return (
        (program, "") if built.returncode == 0 else (None, f"go build failed: {built.stderr.strip()[-500:]}")
    )


def theirs(program: Path, path: Path) -> dict[str, Any]:
    """One round of Porcupine."""
    ran = subprocess.run(
        [str(program), str(path), f"{TIMEOUT_S:g}s"],
        capture_output=True,
        text=True,
        timeout=4 * TIMEOUT_S,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Verdict and operations of the first round, the medians of the times, and all check times."""
    verdicts = {found["result"] for found in rounds}
    if len(verdicts) != 1:
        raise SystemExit(f"the rounds disagree: {sorted(verdicts)}")
    return {
        "result": rounds[0]["result"],
        "operations": rounds[0]["operations"],
        "readSeconds": round(statistics.median(found["readSeconds"] for found in rounds), 3),
        "checkSeconds": round(statistics.median(found["checkSeconds"] for found in rounds), 3),
        "rounds": [round(found["checkSeconds"], 3) for found in rounds],
    }


def main() -> None:
    """Runs all histories, rounds interleaved, and writes what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()

    report: dict[str, Any] = {
        "benchmark": "checker",
        "seed": arguments.seed,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "expectedSeconds": EXPECTED_S,
        "histories": {},
    }
    with tempfile.TemporaryDirectory(prefix="faultlab-checker-") as folder:
        program, reason = build_porcupine(Path(folder))
        report["porcupine"] = "v1.0.3" if program else f"skipped: {reason}"
        for name, (model, workload) in HISTORIES.items():
            path = Path(folder) / "history.ndjson"
            write_events(path, generate(workload, arguments.seed))
            mine, other = [], []
            for _ in range(arguments.rounds):
                mine.append(ours(path, model))
                undecided = any(found["result"] == "unknown" for found in other)
                if program and model == "cas-register" and not undecided:
                    other.append(theirs(program, path))
            entry: dict[str, Any] = {"model": model, "faultlab": median(mine)}
            if other:
                entry["porcupine"] = median(other)
                if entry["porcupine"]["result"] == entry["faultlab"]["result"]:
                    entry["ratio"] = round(
                        entry["faultlab"]["checkSeconds"] / entry["porcupine"]["checkSeconds"], 2
                    )
            report["histories"][name] = entry
            print(f"{name}: {json.dumps(entry)}", flush=True)
    slow = [
        name
        for name, entry in report["histories"].items()
        if entry["faultlab"]["readSeconds"] + entry["faultlab"]["checkSeconds"] > EXPECTED_S
        or entry["faultlab"]["result"] != "valid"
    ]
    report["met"] = not slow
    print(f"porcupine: {report['porcupine']}; expected under {EXPECTED_S:g} s: {slow or 'all met'}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    raise SystemExit(0 if not slow else 1)


if __name__ == "__main__":
    main()
