"""The run in words and numbers: what happened, and the tiles at the top of the page."""

from html import escape

from faultlab.contract.run import VerdictDocument
from faultlab_operator.scenario.counting import history_ns
from faultlab_operator.scenario.times import NS_PER_S
from faultlab_operator.scenario.verdict import Run


def number(value: float, *, group: bool = True) -> str:
    """With thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f" if group else "")


def milliseconds(value: float | None) -> str:
    return "not stated" if value is None else f"{number(value)} ms"


def happened(run: Run, verdict: VerdictDocument) -> str:
    """Two or three sentences for somebody who knows nothing of the run."""
    said = []
    for fault in verdict.faults:
        if fault.injected_at is None or run.record.load_started_at is None:
            continue
        began = history_ns(run.record, fault.injected_at) / NS_PER_S
        sides = ", ".join(fault.cut_off)
        cut = f"{sides} cut off from the others" if sides else "each member cut off from some others"
        lasted = ""
        if fault.healed_at is not None:
            lasted = f" for {(history_ns(run.record, fault.healed_at) / NS_PER_S - began):.1f} s"
        proven = "proven by probes" if fault.observed_at else "not proven"
        said.append(f"At {began:.1f} s {fault.name} had {cut}{lasted} ({proven}).")
    before, after = verdict.leader_before, verdict.leader_after
    if before and after and before != after:
        took = ""
        if verdict.failover_ms is not None:
            after_ms = milliseconds(verdict.failover_ms)
            took = f" Writes succeeded again {after_ms} after the last one under {before}."
        said.append(f"{before} led before, {after} leads at the end.{took}")
    elif after:
        said.append(f"{after} leads at the end.")
    return " ".join(said)


def tiles(verdict: VerdictDocument, unequal: int) -> str:
    """The numbers that everybody asks for first."""
    operations = verdict.operations
    total = operations.ok + operations.fail + operations.info
    terms = ", ".join(map(str, verdict.terms[:6])) + (" …" if len(verdict.terms) > 6 else "")
    outcomes = (
        f"{number(operations.ok)} ok, {number(unequal)} cas found another value, "
        f"{number(operations.fail - unequal)} refused, {number(operations.info)} unknown"
    )
    return "".join(
        [
            _tile(
                "Failover",
                milliseconds(verdict.failover_ms),
                "from the last write under the old leader to the first under a later one",
            ),
            _tile(
                "Unavailability",
                milliseconds(verdict.unavailability_ms),
                "the longest stretch around the fault without a successful write",
            ),
            _tile("Leader", f"{verdict.leader_before or '?'} → {verdict.leader_after or '?'}",
                  f"elected in term{'s' if len(verdict.terms) != 1 else ''} {terms or 'none'}"),
            _tile("Operations", number(total), outcomes),
        ]
    )  # fmt: skip


def _tile(name: str, value: str, note: str) -> str:
    return (
        f'<div class="tile"><div class="name">{escape(name)}</div><div class="value">{escape(value)}</div>'
        f'<div class="note">{escape(note)}</div></div>'
    )
