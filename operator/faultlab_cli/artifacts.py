"""A run's files on this machine: where they go, how they come, what the verdict among them says."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from faultlab.contract.run import VerdictDocument
from faultlab_cli.errors import CliError
from faultlab_cli.operator_pod import OperatorPod

EXIT_CODES = {"Pass": 0, "Fail": 1, "Inconclusive": 2}
VERDICT_FILE = "verdict.json"
REPORT_FILE = "report.html"


def default_folder(name: str, when: datetime) -> Path:
    """`results/NAME-TIME`, with local time."""
    return Path("results") / f"{name}-{when.astimezone().strftime('%Y%m%d-%H%M%S')}"


def fetch(operator: OperatorPod, base: str, names: Iterable[str], folder: Path) -> None:
    """Downloads the files under the operator's path `base` into the folder, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            operator.fetch(f"{base}/artifacts/{name}", folder / name)
    except OSError as error:
        raise CliError(f"{folder}: {error.strerror or error}; choose another folder with --out") from error


def verdict_in(folder: Path) -> VerdictDocument | None:
    """None where the run left none."""
    file = folder / VERDICT_FILE
    if not file.exists():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=VerdictDocument)
    except msgspec.DecodeError as error:
        raise CliError(f"{file} is not a verdict of this version of Faultlab: {error}") from error
