"""`faultlab report`: the runs that the lab keeps, and the files of one of them.

The operator's artifact store outlives the Scenario and its namespace, so what `kubectl apply` alone
ran can be read here afterwards.
"""

import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from rich.console import Console

from faultlab.contract.run import RunList, RunSummary
from faultlab_cli import artifacts
from faultlab_cli.artifacts import EXIT_CODES, REPORT_FILE
from faultlab_cli.errors import CliError
from faultlab_cli.objects import print_columns
from faultlab_cli.operator_pod import OperatorPod
from faultlab_cli.summary import print_verdict

SHORT_UID = 8
"""Characters of a uid that are shown; a beginning of any length that is of one run only will do."""
NO_VERDICT = 2


def list_runs(operator: OperatorPod, console: Console, namespace: str | None) -> None:
    """Prints the runs that the lab keeps, oldest first; of all namespaces, if None is named."""
    runs = _runs(operator, namespace=namespace)
    if not runs:
        where = f" of namespace {namespace}" if namespace else ""
        console.print(f"The lab keeps no run{where}.")
        return
    header = ["NAMESPACE", "NAME", "RUN", "PHASE", "VERDICT", "STARTED", "FAILOVER", "SIZE"]
    print_columns(console, header, [_row(run) for run in runs])


def fetch(
    operator: OperatorPod,
    console: Console,
    name: str,
    *,
    namespace: str,
    uid: str | None,
    out: Path | None,
    open_page: bool | None,
) -> int:
    """Fetches the files of a run (default: the last of this name that is over), prints its verdict and
    opens its report, where there is a browser (`open_page` None) or in any case (True).

    Returns the verdict's exit code (2 where there is none). Raises CliError where there is no such run.
    """
    run = _choose(_runs(operator, namespace=namespace, name=name), name, namespace, uid)
    folder = out or artifacts.default_folder(name, datetime.fromisoformat(run.started_at))
    artifacts.fetch(operator, f"/v1/runs/{run.uid}", run.files, folder)
    verdict = artifacts.verdict_in(folder)
    if verdict is None:
        reasons = "; ".join(run.reasons) or "no reason is known"
        console.print(f"Run {run.uid} of {namespace}/{name} has no verdict ({run.phase}): {reasons}")
        console.print(f"  files    {folder}", soft_wrap=True)
        return NO_VERDICT
    print_verdict(console, verdict, folder)
    page = folder / REPORT_FILE
    if page.exists() and (browser_at_hand() if open_page is None else open_page):
        _open(page, console)
    return EXIT_CODES[verdict.verdict]


def browser_at_hand(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a person sits before this terminal and a window can be opened for them."""
    if environ.get("CI") or not sys.stdout.isatty():
        return False
    if sys.platform == "darwin":
        return not environ.get("SSH_CONNECTION")
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _open(page: Path, console: Console) -> None:
    if not webbrowser.open(page.absolute().as_uri()):
        console.print(f"No browser could be started; open {page} in one.", soft_wrap=True)


def _runs(operator: OperatorPod, **chosen: str | None) -> Sequence[RunSummary]:
    query = urlencode({key: value for key, value in chosen.items() if value})
    answer = operator.get("/v1/runs" + (f"?{query}" if query else ""))
    try:
        return msgspec.json.decode(answer.content, type=RunList).runs
    except msgspec.DecodeError as error:
        raise CliError(
            f"the operator's list of runs is not understood ({error}): is it of another version of Faultlab?"
        ) from error


def _choose(runs: Sequence[RunSummary], name: str, namespace: str, uid: str | None) -> RunSummary:
    if not runs:
        raise CliError(
            f"the lab keeps no run of {namespace}/{name}; `faultlab report` lists those it has "
            "(the oldest are removed)"
        )
    if uid:
        found = [run for run in runs if run.uid.startswith(uid)]
        if len(found) != 1:
            known = ", ".join(run.uid for run in runs)
            what = "is of several runs" if found else "is of no run"
            raise CliError(f"--run {uid} {what} of {namespace}/{name}; there are {known}")
        chosen = found[0]
        if chosen.ended_at is None:
            raise CliError(f"run {chosen.uid} of {namespace}/{name} is under way (phase {chosen.phase})")
        return chosen
    over = [run for run in runs if run.ended_at is not None]
    if not over:
        raise CliError(
            f"the run of {namespace}/{name} is under way (phase {runs[-1].phase}); "
            f"`kubectl get scenario {name} -n {namespace} -w` shows when it is Done"
        )
    return over[-1]


def _row(run: RunSummary) -> list[str]:
    failover = run.headline.failover_ms if run.headline else None
    started = datetime.fromisoformat(run.started_at).astimezone()
    return [
        run.namespace,
        run.name,
        run.uid[:SHORT_UID],
        run.phase,
        run.verdict or "-",
        started.strftime("%Y-%m-%d %H:%M:%S"),
        "-" if failover is None else f"{failover:.0f} ms",
        _size(sum(run.files.values())),
    ]


def _size(count: float) -> str:
    """Bytes, in the unit that leaves at most four digits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
