"""The judge: what makes a run a Pass, a Fail, or none of both."""

import time
from pathlib import Path

import msgspec
import pytest

from faultlab.contract.run import VerdictDocument
from faultlab.history.events import Event
from faultlab_operator.scenario.errors import RecordError, SpecError
from faultlab_operator.scenario.linearizability import faultlab_checker
from faultlab_operator.scenario.verdict import judge, load_run

from .sample import CUT_AT, HEALED_AT, MS, SPEC, S, Sample, at, sample


def judged(made: Sample, directory: Path) -> VerdictDocument:
    return judge(load_run(made.write(directory)), faultlab_checker, time.monotonic() + 20)


def test_a_good_run_is_a_pass_with_its_numbers(tmp_path: Path) -> None:
    verdict = judged(sample(), tmp_path)
    assert verdict.reasons == ()
    assert verdict.verdict == "Pass"
    assert verdict.leader_before == "demo-0"
    assert verdict.leader_after == "demo-2"
    assert verdict.terms == (3, 4)
    assert verdict.failover_ms == pytest.approx(700, abs=60)
    assert verdict.unavailability_ms == pytest.approx(700, abs=60)
    assert verdict.operations.ok > 5000
    assert {check.name for check in verdict.checks} == {
        "linearizable", "leaderChanged", "failover", "electionSafety", "logMatching", "memberInvariants",
    }  # fmt: skip
    assert all(check.result == "pass" for check in verdict.checks)


def test_a_read_that_goes_back_in_time_fails_with_its_operations(tmp_path: Path) -> None:
    made = sample()
    made.history += [
        Event(9001, "invoke", "write", "solo", 1, 8 * S),
        Event(9001, "ok", "write", "solo", 1, 8 * S + MS),
        Event(9001, "invoke", "read", "solo", None, 9 * S),
        Event(9001, "ok", "read", "solo", None, 9 * S + MS),
    ]
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Fail"
    check = verdict.checks[0]
    assert (check.name, check.result) == ("linearizable", "fail")
    assert check.evidence["key"] == "solo"
    assert {operation["f"] for operation in check.evidence["window"]} == {"write", "read"}


def test_proof_counts_also_in_a_run_that_does_not(tmp_path: Path) -> None:
    made = sample()
    made.change(reasons=("the load failed: gone",), history_complete=False)
    made.say("LeaderElected", 11 * S, subject="demo-4", term=4, incarnation="a")
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Fail"
    safety = next(check for check in verdict.checks if check.name == "electionSafety")
    assert safety.result == "fail"
    assert {event["subject"] for event in safety.evidence["events"]} == {"demo-2", "demo-4"}


def test_members_that_applied_different_logs_fail(tmp_path: Path) -> None:
    made = sample()
    made.say("Applied", 19 * S, subject="demo-1", term=3, index=900, digest="other", incarnation="a")
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Fail"
    assert "applied different logs up to index 900" in verdict.reasons[0]


def test_a_member_that_reports_a_broken_promise_fails(tmp_path: Path) -> None:
    made = sample()
    made.say(
        "InvariantViolated",
        12 * S,
        subject="demo-3",
        term=4,
        detail="commit truncated at 17",
        incarnation="a",
    )
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Fail"
    assert "commit truncated at 17" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"observed_at": None}, "did not see it take effect"),
        ({"heal_verified_at": None}, "heal of raft-fault-1 was not verified"),
        ({"injected_at": None}, "was never injected"),
    ],
)
def test_a_fault_without_its_proofs_is_inconclusive(
    tmp_path: Path, changes: dict[str, None], reason: str
) -> None:
    made = sample()
    made.change(faults=(msgspec.structs.replace(made.record.faults[0], **changes),))
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Inconclusive"
    assert any(reason in said for said in verdict.reasons), verdict.reasons


def test_too_few_operations_under_the_fault_are_inconclusive(tmp_path: Path) -> None:
    made = sample()
    short = msgspec.structs.replace(
        made.record.faults[0], healed_at=at(CUT_AT + S // 2), heal_verified_at=at(CUT_AT + S)
    )
    made.change(faults=(short,))
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Inconclusive"
    assert any("operations were invoked during raft-fault-1" in said for said in verdict.reasons)


def test_a_side_without_clients_is_inconclusive(tmp_path: Path) -> None:
    made = sample()
    for event in made.history:
        if event.member in ("demo-0", "demo-1"):
            event.member = "demo-2"
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Inconclusive"
    assert any("at the side demo-0, demo-1" in said for said in verdict.reasons)


def test_a_slow_warm_up_is_inconclusive(tmp_path: Path) -> None:
    made = sample()
    made.change(spec={**SPEC, "warmUp": {"duration": "5s", "minimumOperationsPerSecond": 5000}})
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Inconclusive"
    assert any("while warming up; at least 5000" in said for said in verdict.reasons)


def test_a_slow_failover_fails_a_run_that_counts(tmp_path: Path) -> None:
    made = sample()
    made.change(spec={**SPEC, "expect": [{"check": "failover", "atMost": "300ms"}]})
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Fail"
    assert "at most 300ms expected" in verdict.reasons[0]


def test_numbers_are_not_stated_at_a_low_rate(tmp_path: Path) -> None:
    verdict = judged(sample(rate=200), tmp_path)
    assert verdict.failover_ms is None
    assert verdict.unavailability_ms is None
    assert verdict.verdict == "Inconclusive"
    assert any("writes/s were offered" in said for said in verdict.reasons)


def test_an_expected_anomaly_that_does_not_occur_is_no_pass(tmp_path: Path) -> None:
    made = sample()
    made.change(spec={**SPEC, "expect": [{"anomaly": "nonLinearizable"}]})
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Fail"
    assert "expected and did not occur" in verdict.reasons[0]


def test_an_expected_anomaly_that_occurs_is_a_pass(tmp_path: Path) -> None:
    made = sample()
    made.change(spec={**SPEC, "expect": [{"anomaly": "electionSafety"}]})
    made.say("LeaderElected", 11 * S, subject="demo-4", term=4, incarnation="a")
    assert judged(made, tmp_path).verdict == "Pass"


def _stale(made: Sample) -> None:
    system = {"kind": "RaftCluster", "metadata": {"name": "demo"}, "spec": {"reads": "stale"}}
    made.change(spec={**SPEC, "systems": [system], "expect": [{"check": "promisedReads"}]})


def test_stale_reads_of_a_cluster_that_promises_no_more_are_a_pass(tmp_path: Path) -> None:
    made = sample()
    _stale(made)
    made.history += [
        Event(9001, "invoke", "write", "solo", 1, 8 * S),
        Event(9001, "ok", "write", "solo", 1, 8 * S + MS),
        Event(9001, "invoke", "read", "solo", None, 9 * S),
        Event(9001, "ok", "read", "solo", None, 9 * S + MS),
    ]
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Pass"
    assert "judged by what reads: stale promises" in verdict.checks[0].message


def test_a_made_up_value_fails_even_where_reads_may_be_stale(tmp_path: Path) -> None:
    made = sample()
    _stale(made)
    made.history += [
        Event(9001, "invoke", "read", "k1", None, 9 * S),
        Event(9001, "ok", "read", "k1", "never written", 9 * S + MS),
    ]
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Fail"
    assert "never written" in verdict.reasons[0]


def test_an_interrupted_run_keeps_its_reason(tmp_path: Path) -> None:
    made = sample()
    made.change(reasons=("raft-fault-1 was interrupted: the operator was away",))
    verdict = judged(made, tmp_path)
    assert (verdict.verdict, verdict.reasons[0]) == (
        "Inconclusive",
        "raft-fault-1 was interrupted: the operator was away",
    )


def test_a_run_without_a_history_is_inconclusive(tmp_path: Path) -> None:
    made = sample()
    made.history = []
    made.change(load_started_at=None, history_complete=False)
    verdict = judged(made, tmp_path)
    assert verdict.verdict == "Inconclusive"
    assert "no operation was recorded" in verdict.reasons


def test_an_unknown_expectation_is_refused_with_what_exists(tmp_path: Path) -> None:
    made = sample()
    made.change(spec={**SPEC, "expect": [{"check": "serialisable"}]})
    with pytest.raises(SpecError, match=r"write check: one of .*linearizable"):
        judged(made, tmp_path)


def test_a_torn_last_event_is_left_out_and_a_broken_one_in_the_middle_is_refused(tmp_path: Path) -> None:
    made = sample()
    made.write(tmp_path)
    path = tmp_path / "events.ndjson"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"id": 99')
    assert len(load_run(tmp_path).events) == len(made.events)
    path.write_bytes(b'{"id": 99\n' + whole)
    with pytest.raises(RecordError, match="line 1"):
        load_run(tmp_path)


def test_verdict_says_when_each_fault_was_injected_and_healed(tmp_path: Path) -> None:
    fault = judged(sample(), tmp_path).faults[0]
    assert (fault.injected_at, fault.healed_at) == (at(CUT_AT), at(HEALED_AT))
