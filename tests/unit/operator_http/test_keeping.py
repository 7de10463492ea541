"""What the artifact store keeps: bounded three ways, never at a running run's cost, over restarts."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from faultlab.contract.run import OperationCounts, RunSummary, VerdictDocument
from faultlab_operator.errors import StorageError
from faultlab_operator.scenario import keeping
from faultlab_operator.scenario.keeping import Bounds, RunKeeper, beyond
from faultlab_operator.scenario.record import replace_file
from faultlab_operator.scenario.store import RunStore
from faultlab_operator.scenario.times import format_time

from .pages_lab import NOW, Lab, make_lab, until

ROOMY = {"keep_runs": 100, "keep_bytes": 10**9, "keep_age_s": 1e9}


def kept(lab: Lab) -> list[str]:
    return [run.summary.uid for run in lab.store.runs()]


@asynccontextmanager
async def keeper(lab: Lab) -> AsyncIterator[RunKeeper]:
    made = RunKeeper(lab.services, lab.store)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        (Bounds(2, 10**9, 1e9), ["c", "d"]),
        (Bounds(100, 350, 1e9), ["b", "c", "d"]),
        (Bounds(100, 299, 1e9), ["c", "d"]),
        (Bounds(100, 10, 1e9), ["d"]),
        (Bounds(100, 10**9, 3500), ["c", "d"]),
        (Bounds(100, 10**9, 60), []),
    ],
)
def test_each_bound_takes_the_oldest(lab: Lab, bounds: Bounds, left: list[str]) -> None:
    for minutes, uid in enumerate("abcd"):
        lab.keep("run", uid, minutes=minutes, size=100)
    # The summary's own bytes are not what is counted here.
    runs = [replace(run, size=100) for run in lab.store.runs()]
    gone = [run.summary.uid for run in beyond(runs, bounds, NOW + timedelta(hours=1))]
    assert gone == [uid for uid in "abcd" if uid not in left]


def test_a_run_that_ended_late_is_younger_than_one_that_began_after_it(lab: Lab) -> None:
    lab.keep("run", "long", minutes=0, ended_at=format_time(NOW + timedelta(hours=2)))
    lab.keep("run", "short", minutes=1)
    gone = beyond(lab.store.runs(), Bounds(1, 10**9, 1e9), NOW + timedelta(hours=3))
    assert [run.summary.uid for run in gone] == ["short"]


async def test_a_run_under_way_is_never_removed_and_takes_no_place(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, keep_runs=1, keep_bytes=1, keep_age_s=1e9)
    lab.keep("run", "way", minutes=-(10**6), ended_at=None, verdict=None, phase="Pending")
    lab.scenario("run", "way", "Fault")
    for minutes, uid in enumerate(("old", "new")):
        lab.keep("other", uid, minutes=minutes)
    await RunKeeper(lab.services, lab.store).tidy()
    assert kept(lab) == ["way", "new"]


async def test_old_runs_go_at_the_start_and_their_folders_with_them(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, **{**ROOMY, "keep_age_s": 60.0})
    lab.keep("run", "old")
    async with keeper(lab):
        await until(lambda: _is(not kept(lab)))
    assert list((tmp_path / "runs").iterdir()) == []


async def test_age_passes_without_new_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "TIDY_S", 0.05)
    lab = make_lab(tmp_path, **{**ROOMY, "keep_age_s": 60.0})
    now = lab.services.clock.now()
    lab.keep("run", "one", ended_at=format_time(now - timedelta(seconds=59)))
    async with keeper(lab):
        assert kept(lab) == ["one"]
        await until(lambda: _is(not kept(lab)))
    assert lab.services.clock.now() - now >= timedelta(seconds=0.9)


async def test_the_end_of_a_run_makes_room_at_once(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, **{**ROOMY, "keep_runs": 1})
    lab.keep("run", "one", minutes=1)
    lab.keep("run", "two", minutes=2, ended_at=None, verdict=None, phase="Pending")
    lab.scenario("run", "two", "Check")
    async with keeper(lab) as made:
        await made.tidy()
        assert kept(lab) == ["one", "two"]
        lab.cache.drop(lab.cache.get("Scenario", "lab", "run") or {})
        lab.scenario(
            "run",
            "two",
            "Done",
            verdict="Fail",
            reasons=["lost"],
            endedAt=format_time(NOW + timedelta(minutes=9)),
        )
        await until(lambda: _is(kept(lab) == ["two"]))
    summary = lab.store.runs()[0].summary
    assert (summary.phase, summary.verdict, summary.reasons) == ("Done", "Fail", ("lost",))


async def test_a_run_whose_scenario_was_deleted_before_its_end_is_kept_as_abandoned(lab: Lab) -> None:
    lab.keep("run", "one", ended_at=None, verdict=None, phase="Pending")
    await RunKeeper(lab.services, lab.store).tidy()
    summary = lab.store.runs()[0].summary
    assert (summary.phase, summary.verdict) == ("Abandoned", None)
    assert summary.ended_at is not None


async def test_a_run_that_ended_while_no_operator_looked_has_its_verdict(lab: Lab) -> None:
    """The operator was killed after the judge wrote; when it is back the Scenario is gone."""
    path = lab.keep("run", "one", ended_at=None, verdict=None, phase="Pending")
    document = VerdictDocument(
        "Pass", (), "run", "lab", "embedded", 1, OperationCounts(5, 0, 1), 812.0, None, "a", "b", (1,), (),
        (), format_time(NOW), format_time(NOW + timedelta(minutes=1)), {},
    )  # fmt: skip
    replace_file(path / "verdict.json", msgspec.json.encode(document))
    restarted = make_lab(lab.services.settings.data_dir, **ROOMY)
    await RunKeeper(restarted.services, restarted.store).tidy()
    summary = restarted.store.runs()[0].summary
    assert (summary.phase, summary.verdict) == ("Done", "Pass")
    assert summary.ended_at == document.ended_at
    assert summary.headline is not None
    assert summary.headline.failover_ms == 812.0
    assert summary.headline.operations == OperationCounts(5, 0, 1)


async def test_a_folder_without_a_readable_summary_is_still_bounded(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, **{**ROOMY, "keep_runs": 1})
    path = lab.keep("run", "broken", minutes=0)
    (path / "summary.json").write_text("{")
    os.utime(path, (1_000_000, 1_000_000))
    for minutes, uid in enumerate(("b", "c")):
        lab.keep("run", uid, minutes=minutes)
    keeper_ = RunKeeper(lab.services, lab.store)
    await keeper_.tidy()  # it counts as ended only now, so it is the newest
    assert "broken" in kept(lab)
    assert (path / "history.ndjson").exists()
    assert len(kept(lab)) == 1


def test_strangers_files_in_the_data_directory_are_left_alone(lab: Lab, tmp_path: Path) -> None:
    lab.keep("run", "one")
    for stranger in (tmp_path / "runs" / "file", tmp_path / "runs" / "lab" / "file"):
        stranger.write_text("x")
    (tmp_path / "runs" / "lost+found").mkdir()
    assert kept(lab) == ["one"]


def test_a_place_that_cannot_be_made_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"could not be made: .*data directory"):
        RunStore(tmp_path).open(RunSummary("lab", "run", "one", format_time(NOW)))


async def _is(value: bool) -> bool:
    return value
