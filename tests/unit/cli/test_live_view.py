"""What a person sees while a run goes on, and at its end."""

import io
from pathlib import Path

from rich.console import Console

from faultlab.contract.load import LoadStatus, LoadWindow
from faultlab.contract.member import RaftStatus
from faultlab.contract.run import (
    CheckRecord,
    CutEdge,
    LiveView,
    MemberView,
    OperationCounts,
    RunEvent,
    VerdictDocument,
)
from faultlab_cli.live import EventLog, LiveScreen
from faultlab_cli.summary import print_verdict

NOW = "2026-01-01T10:00:00.000000Z"


def _console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=140, force_terminal=False, color_system=None), out


def _status(member: str, role: str, term: int) -> RaftStatus:
    return RaftStatus(
        system="raft",
        cluster="demo",
        member=member,
        role=role,
        term=term,
        leader="demo-0",  # type: ignore[arg-type]
        commit_index=41,
        applied_index=41,
        last_index=42,
        peers={},
        version="0",
        started_at=NOW,
        ready=True,
    )


def _view(**changes: object) -> LiveView:
    window = LoadWindow(600, 350, 590, 7, 3, 1.25, 9.5)
    load = LoadStatus("demo", "running", 5000, 20, 3, 0, 20, window, 1, NOW, 0)
    fields: dict[str, object] = {
        "name": "s",
        "namespace": "ns",
        "phase": "Fault",
        "phases": (),
        "elapsed_ms": 12_000,
        "expected_ms": 40_000,
        "members": (
            MemberView("demo-0", True, _status("demo-0", "leader", 7)),
            MemberView("demo-1", False, _status("demo-1", "follower", 6)),
            MemberView("demo-2", False),
        ),
        "cut_edges": (CutEdge("demo-0", "demo-1"), CutEdge("demo-1", "demo-0"), CutEdge("demo-2", "demo-0")),
        "load": load,
        "events": (),
        **changes,
    }
    return LiveView(**fields)  # type: ignore[arg-type]


def test_the_panel_shows_phase_members_cuts_and_load() -> None:
    console, out = _console()
    console.print(LiveScreen("The leader is cut off").render(_view()))
    text = out.getvalue()
    for shown in (
        "The leader is cut off",
        "Fault",
        "12 s of about 40 s",
        "demo-0",
        "leader",
        "7",
        "unreachable",
        "590 ok/s",
        "7 fail/s",
        "p50 1.2 ms",
        "p99 9.5 ms",
        "3 edges cut",
        "demo-0 ╳ demo-1",
        "demo-2 ╳→ demo-0",
    ):
        assert shown in text


def test_the_panel_stands_before_anything_has_started() -> None:
    console, out = _console()
    console.print(LiveScreen("s").render(_view(phase="Pending", members=(), cut_edges=(), load=None)))
    assert "no load yet" in out.getvalue()


def test_every_event_is_a_line_but_those_that_only_files_keep() -> None:
    console, out = _console()
    log = EventLog(console)
    log.print(RunEvent(1, NOW, "member", "LeaderElected", "demo-3 leads term 8"))
    log.print(RunEvent(2, NOW, "member", "Applied", "checkpoint"))
    assert "demo-3 leads term 8" in out.getvalue()
    assert "checkpoint" not in out.getvalue()


def test_a_members_repeated_campaigns_in_one_term_are_told_once() -> None:
    console, out = _console()
    log = EventLog(console)
    for number, term in enumerate((2, 2, 2, 3)):
        campaign = RunEvent(number, NOW, "member", "ElectionStarted", f"campaign in {term}", term=term)
        log.print(campaign)
    assert out.getvalue().count("campaign in 2") == 1
    assert out.getvalue().count("campaign in 3") == 1


def test_the_verdict_shows_reasons_numbers_checks_and_where_the_report_is(tmp_path: Path) -> None:
    console, out = _console()
    verdict = VerdictDocument(
        verdict="Fail",
        reasons=("a read was stale",),
        scenario="s",
        namespace="ns",
        world="embedded",
        seed=1,
        operations=OperationCounts(10, 2, 1),
        failover_ms=812.4,
        unavailability_ms=None,
        leader_before="demo-0",
        leader_after="demo-3",
        terms=(1, 2),
        faults=(),
        started_at=NOW,
        ended_at=NOW,
        versions={},
        checks=(CheckRecord("linearizable", "fail", 13, 5.0, "key k1 has no order"),),
    )
    print_verdict(console, verdict, tmp_path)
    text = out.getvalue()
    for shown in (
        "FAIL",
        "a read was stale",
        "10 ok, 2 failed, 1 unknown",
        "demo-0 → demo-3",
        "812 ms",
        "not stated",
        "✘ linearizable  key k1 has no order",
        "report.html",
    ):
        assert shown in text


def test_the_panel_fits_eighty_columns_with_nothing_folded() -> None:
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False, color_system=None).print(
        LiveScreen("s").render(_view(elapsed_ms=123_000, expected_ms=145_000))
    )
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    for whole in (
        "Deploy › Healthy › WarmUp › Fault › Heal › Settle › FinalRead › Check",
        "123 s of about 145 s",
        "590 ok/s     7 fail/s    3 unknown/s",
    ):
        assert any(whole in line for line in lines), whole


def test_a_member_that_has_not_started_yet_is_not_called_unreachable() -> None:
    members = (MemberView("demo-0", False),)
    for phase, shown in (("Healthy", "starting"), ("Fault", "unreachable")):
        console, out = _console()
        console.print(LiveScreen("s").render(_view(phase=phase, members=members, cut_edges=())))
        assert shown in out.getvalue()


def test_a_long_event_is_folded_between_words_beside_its_time_on_a_terminal_only() -> None:
    event = RunEvent(1, NOW, "fault", "Interrupted", "the lease of the fault ran out before it was renewed")
    shown = {}
    for terminal in (True, False):
        out = io.StringIO()
        EventLog(Console(file=out, width=40, force_terminal=terminal, color_system=None)).print(event)
        shown[terminal] = [line.rstrip() for line in out.getvalue().splitlines()]
    assert len(shown[False]) == 1
    assert all(line.startswith(" " * 14) for line in shown[True][1:])
    assert len(shown[True]) > 1
    assert " ".join(line[14:] for line in shown[True]) == event.message
