"""The report: true to the run, whole in one file, and safe to open."""

import re
import time
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from faultlab.history.events import Event
from faultlab_operator.report import render_report
from faultlab_operator.report.series import BUCKET_MS, bucketed, role_lanes
from faultlab_operator.report.svg import Linear, Logarithmic, ticks
from faultlab_operator.scenario.judge import main
from faultlab_operator.scenario.linearizability import faultlab_checker
from faultlab_operator.scenario.operations import pair
from faultlab_operator.scenario.verdict import judge, load_run

from ..scenario.sample import CUT_AT, MEMBERS, MS, S, Sample, sample


def rendered(made: Sample, directory: Path) -> str:
    run = load_run(made.write(directory))
    return render_report(run, judge(run, faultlab_checker, time.monotonic() + 20))


class Tags(HTMLParser):
    """All attributes that could fetch something, and whether tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "xlink:href")
        ]
        if tag not in ("meta", "input", "br", "line", "rect", "path", "link"):
            self.open.append(tag)

    def handle_startendtag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("line", "rect", "path"):
            return
        assert self.open.pop() == tag


def test_report_is_one_file_that_fetches_nothing(tmp_path: Path) -> None:
    page = rendered(sample(), tmp_path)
    tags = Tags()
    tags.feed(page)
    assert tags.links == []
    assert tags.open == []
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_report_says_what_happened_and_names_everything(tmp_path: Path) -> None:
    page = rendered(sample(), tmp_path)
    for said in (
        "Pass", "demo-0 → demo-2", "demo-2 elected, term 4", "cut off: demo-0, demo-1", "leads term 3",
        "raft-leader-partition", "seed", "operations/s", "seconds since the load began", "replicas: 5",
    ):  # fmt: skip
        assert said in page, said


def test_report_shows_the_guilty_operations(tmp_path: Path) -> None:
    made = sample()
    made.history += [
        Event(9001, "invoke", "write", "solo", "<b>17</b>", 8 * S, member="demo-3"),
        Event(9001, "ok", "write", "solo", "<b>17</b>", 8 * S + MS, member="demo-3", term=3),
        Event(9001, "invoke", "read", "solo", None, 9 * S, member="demo-4"),
        Event(9001, "ok", "read", "solo", None, 9 * S + MS, member="demo-4", term=3),
    ]
    page = rendered(made, tmp_path)
    assert "read → nothing" in page
    assert "write &lt;b&gt;17&lt;/b&gt; · term 3" in page
    assert "<b>17" not in page


def test_report_shows_the_guilty_events(tmp_path: Path) -> None:
    made = sample()
    made.say("LeaderElected", 11 * S, subject="demo-4", term=4, incarnation="a")
    page = rendered(made, tmp_path)
    assert "two leaders were elected in term 4: demo-2 and demo-4" in page


def test_hostile_names_do_not_become_markup(tmp_path: Path) -> None:
    made = sample()
    made.change(spec={**made.record.spec, "title": "</style><script>alert(1)</script>$verdict"})
    made.say("Started", S, subject="demo-0", message="</script><script>alert(2)</script>")
    page = rendered(made, tmp_path)
    assert "<script>alert" not in page


def test_a_run_in_which_nothing_came_to_be_still_has_a_report(tmp_path: Path) -> None:
    made = sample()
    made.history, made.events = [], []
    made.change(load_started_at=None, history_complete=False, faults=(), phases=made.record.phases[:2])
    page = rendered(made, tmp_path)
    assert "Inconclusive" in page
    assert "no operation was recorded" in page


def test_the_judge_writes_verdict_and_report_and_refuses_an_empty_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "run.json: no such file" in capsys.readouterr().err
    sample().write(tmp_path)
    assert main([str(tmp_path)]) == 0
    assert msgspec.json.decode((tmp_path / "verdict.json").read_bytes())["verdict"] == "Pass"
    assert (tmp_path / "report.html").exists()


def test_buckets_count_every_completed_operation_once() -> None:
    operations = pair(sample().history)
    buckets = bucketed(operations)
    completed = [op for op in operations if op.completed_ns is not None]
    counted = sum(b.reads + b.writes + b.refused + b.unknown for b in buckets.buckets)
    assert BUCKET_MS <= 250
    assert counted == len(completed)
    assert sum(b.writes for b in buckets.buckets) == sum(
        1 for op in completed if op.is_write and op.outcome == "ok"
    )


def test_the_outage_is_seen_in_the_buckets() -> None:
    buckets = bucketed(pair(sample().history))
    index = int((CUT_AT / S + 0.25 - buckets.start_s) / 0.25)
    assert buckets.buckets[index].writes == 0
    assert buckets.buckets[index - 4].writes > 20


def test_lanes_follow_the_members_roles() -> None:
    lanes = role_lanes(sample().events, MEMBERS, 0.0, 26.0)
    assert [stretch.role for stretch in lanes["demo-2"]] == ["follower", "candidate", "leader"]
    assert lanes["demo-0"][0].role == "leader"
    assert lanes["demo-0"][-1].role == "follower"
    for stretches in lanes.values():
        assert stretches[0].start_s == 0.0
        assert stretches[-1].end_s == 26.0


def test_ticks_are_round_and_within() -> None:
    assert ticks(0, 600, 5) == [0, 200, 400, 600]
    assert ticks(2, 26, 12) == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]
    assert all(0.1 <= tick <= 0.9 for tick in ticks(0.1, 0.9, 4))


def test_scales_put_their_ends_where_they_belong() -> None:
    assert [Linear(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert [Logarithmic(0.1, 10, 0, 100)(value) for value in (0.01, 0.1, 1, 10)] == [0, 0, 50, 100]
