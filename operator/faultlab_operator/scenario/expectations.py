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
from faultlab_operator.scenario.measure import Measure


@dataclass(frozen=True)
class Findings:
    """What the expectations are held against."""

    linearizable: CheckRecord
    failover: Measure
    unavailability: Measure
    injected_wall: str | None
    """When the first fault that was injected, was; None when none was."""
    leader_before: str | None
    elections: tuple[RunEvent, ...]
    """`LeaderElected`, in order."""


def check_expectations(expect: Sequence[Mapping[str, Any]], findings: Findings) -> list[CheckRecord]:
    """One record for each entry of `spec.expect`, in its order. Raises SpecError for an unknown check."""
    records = []
    for index, entry in enumerate(expect):
        name = str(entry.get("check"))
        if name not in KNOWN:
            raise SpecError(f"expect[{index}].check is {name!r}: write one of {', '.join(sorted(KNOWN))}")
        records.append(KNOWN[name](entry, findings))
    return records


def _linearizable(_entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    return findings.linearizable


def _anomaly(_entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    """The opposite: the system is expected to break, and a run in which it does not proves nothing good."""
    found = findings.linearizable
    turned = {"fail": "pass", "pass": "fail", "unknown": "unknown"}[found.result]
    said = {
        "fail": f"the expected anomaly occurred: {found.message}",
        "pass": f"an anomaly was expected and none occurred: {found.message}",
        "unknown": found.message,
    }[found.result]
    return msgspec.structs.replace(found, name="anomaly", result=turned, message=said)


def _leader_changed(_entry: Mapping[str, Any], findings: Findings) -> CheckRecord:
    if findings.injected_wall is None or findings.leader_before is None:
        return CheckRecord("leaderChanged", "unknown", 0, 0.0, "no leader is known from before the fault")
    before = findings.leader_before
    later = [event for event in findings.elections if event.wall_time >= findings.injected_wall]
    others = [event for event in later if event.subject != before]
    if others:
        first = others[0]
        message = f"{first.subject} took over from {before} in term {first.term}"
        return CheckRecord("leaderChanged", "pass", len(later), 0.0, message)
    return CheckRecord(
        "leaderChanged", "fail", len(later), 0.0, f"no member but {before} was elected after the fault began"
    )


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


def _invariants(_entry: Mapping[str, Any], _findings: Findings) -> CheckRecord:
    """Always checked one by one: the entry is allowed, and says nothing new."""
    return CheckRecord("invariants", "pass", 0, 0.0, "each is a check of its own")


KNOWN: dict[str, Callable[[Mapping[str, Any], Findings], CheckRecord]] = {
    "linearizable": _linearizable,
    "anomaly": _anomaly,
    "leaderChanged": _leader_changed,
    "failover": _failover,
    "unavailability": _unavailability,
    "invariants": _invariants,
}
