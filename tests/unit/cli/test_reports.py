"""Runs that the lab keeps: listed, chosen by name or uid, fetched with their verdict."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_cluster import Cluster, operator, proxied
from rich.console import Console

from faultlab_cli import reports
from faultlab_cli.errors import CliError
from faultlab_cli.operator_pod import OperatorPod

VERDICT = {
    "verdict": "Fail",
    "reasons": ["a read was stale"],
    "scenario": "s",
    "namespace": "ns",
    "world": "kubernetes",
    "seed": 1,
    "operations": {"ok": 10, "fail": 2, "info": 1},
    "failoverMs": 800.0,
    "unavailabilityMs": None,
    "leaderBefore": "demo-0",
    "leaderAfter": "demo-1",
    "terms": [1, 2],
    "faults": [],
    "checks": [],
    "startedAt": "2026-01-01T10:00:00Z",
    "endedAt": "2026-01-01T10:01:00Z",
    "versions": {},
}


def run(uid: str, minute: int, **changes: Any) -> dict[str, Any]:
    return {
        "namespace": "ns",
        "name": "s",
        "uid": uid,
        "startedAt": f"2026-01-01T10:{minute:02}:00.000000Z",
        "endedAt": f"2026-01-01T10:{minute:02}:40.000000Z",
        "phase": "Done",
        "verdict": "Fail",
        "files": {"verdict.json": 2_000_000, "report.html": 10},
        **changes,
    }


UNDER_WAY = run("cccc3333-x", 3, phase="Fault", endedAt=None, verdict=None, files={})


@pytest.fixture
def lab(cluster: Cluster) -> Cluster:
    cluster.has_pods(operator())
    runs = [run("aaaa1111-x", 1), run("aaaa2222-x", 2), UNDER_WAY]
    cluster.answers[proxied("v1/runs")] = {"runs": runs}
    for each in runs:
        base = f"v1/runs/{each['uid']}/artifacts"
        cluster.answers[proxied(f"{base}/verdict.json")] = {**VERDICT, "seed": len(each["uid"])}
        cluster.answers[proxied(f"{base}/report.html")] = {"of": each["uid"]}
    return cluster


def fetch(cluster: Cluster, out: Path, uid: str | None = None) -> tuple[int, str]:
    text = io.StringIO()
    console = Console(file=text, width=140)
    pod = OperatorPod(cluster.kube())
    code = reports.fetch(pod, console, "s", namespace="ns", uid=uid, out=out, open_page=False)
    return code, text.getvalue()


def test_the_list_shows_every_run_with_phase_verdict_and_size(lab: Cluster) -> None:
    text = io.StringIO()
    reports.list_runs(OperatorPod(lab.kube()), Console(file=text, width=80), None)
    header, first, _, last = text.getvalue().splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "RUN", "PHASE", "VERDICT", "STARTED", "FAILOVER", "SIZE"]
    assert first.split()[:5] == ["ns", "s", "aaaa1111", "Done", "Fail"]
    assert first.endswith("2 MiB")
    assert last.split()[3:5] == ["Fault", "-"]


def test_the_last_run_that_is_over_is_fetched_with_its_verdict(lab: Cluster, tmp_path: Path) -> None:
    code, text = fetch(lab, tmp_path / "out")
    assert code == 1
    assert "a read was stale" in text
    assert "aaaa2222" in (tmp_path / "out" / "report.html").read_text()


def test_a_run_is_chosen_by_the_beginning_of_its_uid(lab: Cluster, tmp_path: Path) -> None:
    fetch(lab, tmp_path, "aaaa1")
    assert "aaaa1111" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("uid", "told"),
    [("aaaa", "is of several runs"), ("zzz", "is of no run"), ("cccc", r"under way \(phase Fault\)")],
)
def test_a_uid_that_is_of_no_single_finished_run_is_refused(
    lab: Cluster, tmp_path: Path, uid: str, told: str
) -> None:
    with pytest.raises(CliError, match=told):
        fetch(lab, tmp_path, uid)


def test_a_name_without_a_run_or_with_none_that_is_over_says_so(lab: Cluster, tmp_path: Path) -> None:
    lab.answers[proxied("v1/runs")] = [{"runs": []}, {"runs": [UNDER_WAY]}]
    with pytest.raises(CliError, match="keeps no run of ns/s"):
        fetch(lab, tmp_path)
    with pytest.raises(CliError, match=r"is under way \(phase Fault\)"):
        fetch(lab, tmp_path)


def test_a_run_that_was_given_up_leaves_its_files_and_no_verdict(lab: Cluster, tmp_path: Path) -> None:
    abandoned = run("aaaa1111-x", 1, phase="Abandoned", verdict=None, files={"report.html": 1})
    lab.answers[proxied("v1/runs")] = {"runs": [abandoned]}
    code, text = fetch(lab, tmp_path)
    assert code == 2
    assert "no verdict (Abandoned)" in text
    assert (tmp_path / "report.html").exists()


def test_without_a_folder_the_files_go_where_a_second_fetch_finds_them(
    lab: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pod = OperatorPod(lab.kube())
    for _ in range(2):
        reports.fetch(pod, Console(quiet=True), "s", namespace="ns", uid=None, out=None, open_page=False)
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.startswith("s-20260101-") or folder.name.startswith("s-20251231-")


@pytest.mark.parametrize(
    ("environ", "terminal", "expected"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "w"}, True, True),
        ({"DISPLAY": ":0", "CI": "true"}, True, False),
        ({"DISPLAY": ":0"}, False, False),
        ({"SSH_CONNECTION": "a b"}, True, False),
        ({}, True, False),
    ],
)
def test_a_browser_is_opened_for_a_person_before_a_screen_only(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], terminal: bool, expected: bool
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert reports.browser_at_hand(environ) is expected
