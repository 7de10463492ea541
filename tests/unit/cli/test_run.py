"""A run over a lab that comes and goes: replaced operators, deleted scenarios, Ctrl-C."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_cluster import Cluster, operator, proxied, refusal
from rich.console import Console

from faultlab_cli import run as module
from faultlab_cli.errors import CliError
from faultlab_cli.run import run_scenario

SCENARIO: dict[str, Any] = {
    "kind": "Scenario",
    "apiVersion": "faultlab.dev/v1alpha1",
    "metadata": {"name": "s"},
    "spec": {"timeout": "30s"},
}
SCENARIOS = "/apis/faultlab.dev/v1alpha1/namespaces/ns/scenarios"
LIVE = "v1/namespaces/ns/scenarios/s/live"
VERDICT = {
    "verdict": "Fail",
    "reasons": [],
    "scenario": "s",
    "namespace": "ns",
    "world": "kubernetes",
    "seed": 1,
    "operations": {"ok": 10, "fail": 2, "info": 1},
    "failoverMs": None,
    "unavailabilityMs": None,
    "leaderBefore": None,
    "leaderAfter": None,
    "terms": [],
    "faults": [],
    "checks": [],
    "startedAt": "2026-01-01T10:00:00Z",
    "endedAt": "2026-01-01T10:01:00Z",
    "versions": {},
}


def view(phase: str, **changes: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"phases": [], "members": [], "cutEdges": [], "load": None, "events": []}
    return {
        "name": "s",
        "namespace": "ns",
        "phase": phase,
        "elapsedMs": 0,
        "expectedMs": 1,
        **nothing,
        **changes,
    }


class Lab:
    """A cluster in which a run can be made; keeps the Scenario as it is."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.screen = io.StringIO()
        cluster.answers |= {
            "/apis/faultlab.dev/v1alpha1": {"resources": []},
            "/api/v1/namespaces/ns": {"metadata": {"labels": {"faultlab.dev/chaos": "enabled"}}},
            SCENARIOS: self._create,
            f"{SCENARIOS}/s": self._scenario,
        }
        cluster.has_pods(operator())
        self.uid: str | None = None

    def _create(self, request: httpx.Request) -> dict[str, Any]:
        assert json.loads(request.content)["metadata"]["namespace"] == "ns"
        self.uid = "u1"
        return {"metadata": {"uid": "u1"}}

    def _scenario(self, request: httpx.Request) -> Any:
        if self.uid is None:
            return refusal(404, "NotFound", "not found")
        found = {"metadata": {"uid": self.uid}, "status": {"reportURL": "http://page/u1"}}
        if request.method == "DELETE":
            self.uid = None
        return found

    def lives(self, *answers: Any, pod: str = "op-1") -> None:
        self.cluster.answers[proxied(LIVE, pod)] = list(answers)

    def has_verdict(self, pod: str = "op-1") -> None:
        self.cluster.answers[proxied("v1/runs/u1/artifacts/verdict.json", pod)] = VERDICT

    def run(self, out: Path) -> int:
        console = Console(file=self.screen, width=200, force_terminal=False)
        return run_scenario(self.cluster.kube(), SCENARIO, namespace="ns", out=out, console=console)


@pytest.fixture
def lab(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    monkeypatch.setattr(module, "SILENCE_TOLD_S", -1.0)
    return Lab(cluster)


def test_a_run_ends_with_its_verdicts_code_and_says_where_the_report_is(lab: Lab, tmp_path: Path) -> None:
    lab.lives(view("Fault"), view("Done", artifacts=["verdict.json"], verdict="Fail"))
    lab.has_verdict()
    assert lab.run(tmp_path) == 1
    assert (tmp_path / "verdict.json").exists()
    assert "http://page/u1" in lab.screen.getvalue()


def test_a_run_survives_the_operators_replacement(lab: Lab, tmp_path: Path) -> None:
    def replaced(_request: httpx.Request) -> httpx.Response:
        lab.cluster.has_pods(operator("op-2"))
        return refusal(503, "ServiceUnavailable", "no pod")

    lab.lives(view("Fault"), replaced)
    lab.lives(
        httpx.Response(404, text="no such scenario (yet)"),
        view("Done", artifacts=["verdict.json"]),
        pod="op-2",
    )
    lab.has_verdict("op-2")
    assert lab.run(tmp_path) == 1
    assert "Waiting: the operator does not answer: no pod" in lab.screen.getvalue()
    assert "The operator answers again." in lab.screen.getvalue()


@pytest.mark.parametrize("uid", [None, "another"])
def test_a_scenario_that_is_gone_or_replaced_ends_the_run(lab: Lab, tmp_path: Path, uid: str | None) -> None:
    def deleted(_request: httpx.Request) -> httpx.Response:
        lab.uid = uid
        return httpx.Response(404, text="no such scenario")

    lab.lives(deleted)
    with pytest.raises(CliError, match="ns/s was deleted while it ran"):
        lab.run(tmp_path)


def test_an_operator_that_stays_away_is_given_up_and_what_is_left_is_said(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPERATOR_SILENCE_LIMIT_S", 0.05)
    lab.lives(httpx.Response(502, text="bad gateway"))
    with pytest.raises(CliError, match=r"bad gateway.*faultlab report s -n ns.*faultlab delete scenario s"):
        lab.run(tmp_path)


def test_a_missing_permission_ends_the_run_at_once(lab: Lab, tmp_path: Path) -> None:
    lab.lives(refusal(403, "Forbidden", "not you"))
    with pytest.raises(CliError, match="not you"):
        lab.run(tmp_path)


def test_an_interrupted_run_deletes_its_scenario_and_says_so(lab: Lab, tmp_path: Path) -> None:
    def interrupt(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    lab.lives(view("Fault"), interrupt)
    with pytest.raises(KeyboardInterrupt):
        lab.run(tmp_path)
    assert lab.uid is None
    assert "deleting scenario ns/s" in lab.screen.getvalue()
    assert "Scenario ns/s is deleted." in lab.screen.getvalue()


def test_an_interrupted_run_that_cannot_delete_says_what_to_do(lab: Lab, tmp_path: Path) -> None:
    def interrupt(_request: httpx.Request) -> httpx.Response:
        lab.cluster.answers[f"{SCENARIOS}/s"] = refusal(403, "Forbidden", "not you")
        raise KeyboardInterrupt

    lab.lives(interrupt)
    with pytest.raises(KeyboardInterrupt):
        lab.run(tmp_path)
    assert "could not be deleted: not you" in lab.screen.getvalue()
    assert "faultlab delete scenario s -n ns" in lab.screen.getvalue()


def test_a_scenario_that_is_under_way_is_not_disturbed(lab: Lab, tmp_path: Path) -> None:
    lab.uid = "other"
    with pytest.raises(CliError, match="ns/s is running"):
        lab.run(tmp_path)
    assert lab.uid == "other"
