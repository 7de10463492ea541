"""Each thing that a scenario may expect, held against what the run measured.

An expectation that cannot be decided is `unknown`, which makes a run Inconclusive: a Pass is only given
for what was proven.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from faultlab.contract.run import CheckRecord, RunEvent
from faultlab_operator.api.duration import Duration
from faultlab_operator.scenario.errors import SpecError
from faultlab_operator.scenario.linearizability import HistoryChecks
from faultlab_operator.scenario.measure import Measure
from faultlab_operator.scenario.times import wall_ns

ALWAYS_CHECKED = "invariants"
"""May be written in `expect`, and says nothing new: each invariant has a record of its own in any case."""

ANOMALIES = {
    "nonLinearizable": "linearizable",
    "electionSafety": "electionSafety",
    "logMatching": "logMatching",
    "invariantViolated": "memberInvariants",
}
"""An anomaly that may be expected, and the check that finds it by failing."""


@dataclass(frozen=True)
class Findings:
    """What the expectations are held against."""

    history: HistoryChecks
    invariants: tuple[CheckRecord, ...]
    failover: Measure
    unavailability: Measure
    injected_ns: int | None
    """When the first fault took effect, in wall-clock nanoseconds; None when none was injected."""
    leader_before: str | None
    elections: tuple[RunEvent, ...]
    """`LeaderElected`, in order."""


def check_expectations(expect: Sequence[Mapping[str, Any]], findings: Findings) -> list[CheckRecord]:
    """One record for each entry of `spec.expect` in its order, then each invariant not expected to break.

    Raises SpecError for an expectation that is not known.
    """
    records = []
    expected_to_break = set()
    for index, entry in enumerate(expect):
        anomaly, name = entry.get("anomaly"), entry.get("check")
        if anomaly in ANOMALIES:
            expected_to_break.add(ANOMALIES[anomaly])
            records.append(_anomaly(str(anomaly), findings))
        elif name in CHECKS:
            records.append(CHECKS[name](entry, findings))
        elif name != ALWAYS_CHECKED:
            known = ", ".join(sorted([*CHECKS, ALWAYS_CHECKED]))
            raise SpecError(
                f"expect[{index}] is {dict(entry)!r}: write check: one of {known}; "
                f"or anomaly: one of {', '.join(ANOMALIES)}"
            )
    return records + [record for record in findings.invariants if record.name not in expected_to_break]


def _anomaly(name: str, findings: Findings) -> CheckRecord:
    """The opposite: the system is expected to break, and a run in which it does not is no Pass."""
    wanted = ANOMALIES[name]
    found = findings.history.linearizable
    if wanted != "linearizable":
        found = next(record for record in findings.invariants if record.name == wanted)
    if found.result == "fail":
        said = f"the expected anomaly occurred: {found.message}"
        return msgspec.structs.replace(found, name=f"anomaly {name}", result="pass", message=said)
    if found.result == "pass":
        said = f"the anomaly was expected and did not occur: {found.message}"
        return msgspec.structs.replace(found, name=f"anomaly {name}", result="fail", message=said)
    return msgspec.structs.replace(found, name=f"anomaly {name}")


def _promised(entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    return msgspec.structs.replace(findings.history.promised, name=str(entry["check"]))


def _leader_changed(_entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    before = findings.leader_before
    if findings.injected_ns is None or before is None:
        return CheckRecord("leaderChanged", "unknown", 0, 0.0, "no leader is known from before the fault")
    later = _elections_since(findings.injected_ns, findings)
    others = [event for event in later if event.subject != before]
    if others:
        message = f"{others[0].subject} took over from {before} in term {others[0].term}"
        return CheckRecord("leaderChanged", "pass", len(later), 0.0, message)
    message = f"no member but {before} was elected after the fault began"
    return CheckRecord("leaderChanged", "fail", len(later), 0.0, message)


def _leader_unchanged(_entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    before = findings.leader_before
    if findings.injected_ns is None or before is None:
        return CheckRecord("leaderUnchanged", "unknown", 0, 0.0, "no leader is known from before the fault")
    later = _elections_since(findings.injected_ns, findings)
    if not later:
        message = f"{before} led all the time"
        return CheckRecord("leaderUnchanged", "pass", 0, 0.0, message)
    message = f"{later[0].subject} was elected in term {later[0].term} after the fault began"
    return CheckRecord("leaderUnchanged", "fail", len(later), 0.0, message)


def _elections_since(moment_ns: int, findings: Findings) -> list[RunEvent]:
    return [event for event in findings.elections if wall_ns(event.wall_time) >= moment_ns]


def _failover(entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    return _at_most("failover", entry, findings.failover)


def _unavailability(entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    return _at_most("unavailability", entry, findings.unavailability)


def _at_most(name: str, entry: Mapping[str, Any], measure: Measure) -> CheckRecord:
    try:
        limit = Duration(str(entry.get("atMost", "")))
    except ValueError as error:
        raise SpecError(f"expect {name} needs atMost: {error}") from error
    if measure.ms is None:
        return CheckRecord(name, "unknown", 0, 0.0, f"cannot be stated: {measure.reason}")
    compared = f"{measure.ms:.0f} ms, {measure.reason}; at most {limit} expected"
    return CheckRecord(name, "pass" if measure.ms <= limit.ms else "fail", 0, 0.0, compared)


CHECKS: dict[str, Callable[[Mapping[str, Any], Findings], CheckRecord]] = {
    "linearizable": _promised,
    "promisedReads": _promised,
    "leaderChanged": _leader_changed,
    "leaderUnchanged": _leader_unchanged,
    "failover": _failover,
    "unavailability": _unavailability,
}
