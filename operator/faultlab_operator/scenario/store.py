"""The artifact store: one directory a run under the operator's data directory, `runs/NAMESPACE/NAME/UID/`.

It holds what it holds on disk and remembers nothing, so runs outlive the operator, their Scenarios and
their namespaces. Every method blocks on the disk: call them beside the operator's loop where it matters.
What may stay is decided in `keeping`.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from faultlab.contract.run import RunSummary, VerdictDocument
from faultlab_operator.errors import StorageError
from faultlab_operator.scenario.record import ARTIFACTS, VERDICT_FILE, replace_file
from faultlab_operator.scenario.times import format_time

log = logging.getLogger(__name__)

SUMMARY_FILE: Final = "summary.json"
_decode = msgspec.json.Decoder(RunSummary).decode
_decode_verdict = msgspec.json.Decoder(VerdictDocument).decode


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run's directory as it was when it was looked at."""

    path: Path
    summary: RunSummary
    size: int
    """Bytes of all its files."""


class RunStore:
    """Runs by namespace, name and uid. Names must be Kubernetes' own: they become paths."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "runs"

    def path(self, namespace: str, name: str, uid: str) -> Path:
        return self._root / namespace / name / uid

    def open(self, begun: RunSummary) -> Path:
        """The run's directory, made with its summary if it is new. Raises StorageError if it cannot be."""
        path = self.path(begun.namespace, begun.name, begun.uid)
        try:
            if not (path / SUMMARY_FILE).exists():
                _make(path)
                _write_summary(path, begun)
        except OSError as error:
            raise StorageError.after(error, "the run's directory could not be made") from error
        return path

    def find(self, namespace: str, name: str, uid: str | None) -> StoredRun | None:
        """The run of this uid; without one (the scenario is deleted) the newest of that name."""
        if uid is not None:
            return _look(self.path(namespace, name, uid))
        return max(self._looks(f"{namespace}/{name}/*"), key=started, default=None)

    def by_uid(self, uid: str) -> StoredRun | None:
        return next(self._looks(f"*/*/{uid}"), None)

    def runs(self, namespace: str | None = None, name: str | None = None) -> list[StoredRun]:
        """All runs, of a namespace or a name if given, oldest first."""
        return sorted(self._looks(f"{namespace or '*'}/{name or '*'}/*"), key=started)

    def settle(self, run: StoredRun, summary: RunSummary) -> None:
        """Writes down how the run ended. Raises OSError."""
        _write_summary(run.path, summary)

    def remove(self, run: StoredRun) -> None:
        """Deletes the run's files; what resists is logged, and is there at the next look again."""
        shutil.rmtree(run.path, onerror=lambda _call, path, why: log.warning("removing %s: %s", path, why[1]))
        for parent in (run.path.parent, run.path.parent.parent):
            try:
                parent.rmdir()
            except OSError:
                return  # other runs live there

    def _looks(self, pattern: str) -> Iterator[StoredRun]:
        for path in self._root.glob(pattern):
            run = _look(path)
            if run is not None:
                yield run


def started(run: StoredRun) -> tuple[str, str]:
    """The order of runs: by start, and by uid where two began at once."""
    return run.summary.started_at, run.summary.uid


def verdict_of(run: StoredRun) -> VerdictDocument | None:
    """The judge's document; None where there is none that can be read."""
    try:
        return _decode_verdict((run.path / VERDICT_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _look(path: Path) -> StoredRun | None:
    """None where there is no such directory (any more)."""
    sizes: dict[str, int] = {}
    try:
        for file in path.iterdir():
            if file.is_file():
                sizes[file.name] = file.stat().st_size
        changed = path.stat().st_mtime
    except OSError:
        return None
    files = {name: sizes[name] for name in ARTIFACTS if name in sizes}
    summary = msgspec.structs.replace(_read_summary(path, changed), files=files)
    return StoredRun(path, summary, sum(sizes.values()))


def _read_summary(path: Path, changed: float) -> RunSummary:
    """Of a directory without one, what its path and its age say."""
    try:
        return _decode((path / SUMMARY_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        moment = format_time(datetime.fromtimestamp(changed, UTC))
        namespace, name, uid = path.parts[-3:]
        return RunSummary(namespace, name, uid, moment)


def _write_summary(path: Path, summary: RunSummary) -> None:
    replace_file(path / SUMMARY_FILE, msgspec.json.encode(msgspec.structs.replace(summary, files={})))


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        # The last other run of its name was just removed, and the parent with it.
        path.mkdir(parents=True, exist_ok=True)
