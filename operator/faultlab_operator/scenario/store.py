"""The directories of runs under the operator's data directory: found by name, bounded in number and size."""

import shutil
from collections.abc import Collection
from pathlib import Path

KEEP_RUNS = 30
KEEP_BYTES = 2 * 1024**3
"""Beyond either bound, the oldest runs that are over are removed."""


class RunStore:
    """`DATA_DIR/runs/NAMESPACE/SCENARIO/UID/`."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "runs"

    def path(self, namespace: str, name: str, uid: str) -> Path:
        return self._root / namespace / name / uid

    def open(self, namespace: str, name: str, uid: str) -> Path:
        """The run's directory, made if it is new."""
        path = self.path(namespace, name, uid)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def find(self, namespace: str, name: str, uid: str | None) -> Path | None:
        """The run of this uid; without one (the scenario is deleted) the last of that name."""
        if uid is not None:
            path = self.path(namespace, name, uid)
            return path if path.is_dir() else None
        runs = [path for path in (self._root / namespace / name).glob("*") if path.is_dir()]
        return max(runs, key=_age_order, default=None)

    def prune(self, busy: Collection[Path]) -> list[Path]:
        """Removes the oldest runs beyond the bounds, never a busy one; returns what it removed."""
        runs = sorted(
            (path for path in self._root.glob("*/*/*") if path.is_dir()), key=_age_order, reverse=True
        )
        removed: list[Path] = []
        kept, total = 0, 0
        for path in runs:
            size = sum(file.stat().st_size for file in path.glob("*") if file.is_file())
            if path not in busy and (kept >= KEEP_RUNS or total + size > KEEP_BYTES):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
                continue
            kept, total = kept + 1, total + size
        return removed


def _age_order(path: Path) -> float:
    return path.stat().st_mtime
