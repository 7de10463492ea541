"""The report's lists: checks with their evidence, faults with their proofs, events, phases."""

from collections.abc import Sequence
from html import escape

from faultlab.contract.run import CheckRecord, FaultRecord, PhaseRecord, RunEvent
from faultlab_operator.report.evidence import evidence, table
from faultlab_operator.scenario.times import NS_PER_S, wall_ns

MEANING = {
    "linearizable": "Is there one order of all operations that explains every answer and respects real time?",
    "promisedReads": "Did the system keep what its setting of reads promises?",
    "leaderChanged": "Did another member take over?",
    "leaderUnchanged": "Did the leader stay in office?",
    "failover": "Was the takeover fast enough?",
    "unavailability": "Was the longest outage short enough?",
    "electionSafety": "At most one leader in each term.",
    "logMatching": "No two members applied different entries at one index.",
    "memberInvariants": "No member found its own promise broken.",
}
MAX_EVENTS = 2000
"""Listed; the file events.ndjson has all."""


def checks(records: Sequence[CheckRecord]) -> str:
    parts = []
    for record in records:
        meaning = MEANING.get(record.name, "An anomaly that this scenario expects to find.")
        measured = f"{record.operations:,} looked at, {record.time_ms:.0f} ms" if record.operations else ""
        proof = evidence(record.evidence)
        parts.append(
            f'<div class="check"><span class="badge {record.result}">{record.result.upper()}</span>'
            f'<div><strong>{escape(record.name)}</strong> <span class="soft">{escape(meaning)} '
            f"{escape(measured)}</span><br>{escape(record.message)}</div>"
            + (f'<div class="proof">{proof}</div>' if proof else "")
            + "</div>"
        )
    return "".join(parts)


def faults(records: Sequence[FaultRecord], members: Sequence[str]) -> str:
    """Times with their proofs, and who did not hear whom."""
    return "".join(_fault(record, members) for record in records) or "<p>None.</p>"


def _fault(record: FaultRecord, members: Sequence[str]) -> str:
    steps = (
        ("injected", "the agents confirmed it", record.injected_at),
        ("observed", "probes were swallowed where cut, and passed elsewhere", record.observed_at),
        ("healed", "the agents removed it", record.healed_at),
        ("heal verified", "probes passed everywhere again", record.heal_verified_at),
    )
    first = record.injected_at
    rows = [
        (name, "never" if at is None else at[11:26], _after(first, at), meaning)
        for name, meaning, at in steps
    ]
    said = f"<p>{escape(record.message)}</p>" if record.message else ""
    return (
        f"<h3>{escape(record.name)} <span class='soft'>{escape(record.kind)}</span></h3>{said}"
        f'<div class="two"><div>{table(("step", "time (UTC)", "after injection", "meaning"), rows)}</div>'
        f"<div>{_matrix(record, members)}</div></div>"
    )


def _after(first: str | None, moment: str | None) -> str:
    if first is None or moment is None:
        return ""
    return f"{(wall_ns(moment) - wall_ns(first)) / NS_PER_S:.3f} s"


def _matrix(record: FaultRecord, members: Sequence[str]) -> str:
    """Rows hear columns, or not."""
    cut = {(edge.source, edge.target) for edge in record.cut_edges}
    if not cut:
        return ""
    names = [*members, *sorted({name for edge in cut for name in edge} - set(members))]
    head = "".join(f"<th>{escape(_short(name))}</th>" for name in names)
    rows = []
    for target in names:
        cells = []
        for source in names:
            kind = "self" if source == target else "cut" if (source, target) in cut else ""
            said = f"{target} {'does not hear' if kind == 'cut' else 'hears'} {source}"
            title = "" if kind == "self" else f' title="{escape(said)}"'
            cells.append(f'<td class="{kind}"{title}>{"✕" if kind == "cut" else ""}</td>')
        rows.append(f"<tr><th>{escape(target)}</th>{''.join(cells)}</tr>")
    return (
        '<p class="soft">A row does not hear the columns marked ✕.</p>'
        f'<table class="matrix"><tr><th></th>{head}</tr>{"".join(rows)}</table>'
    )


def _short(name: str) -> str:
    """The ordinal of a member, or the last word of a load pod's name."""
    return name.rpartition("-")[2]


def event_list(events: Sequence[RunEvent]) -> str:
    """In the order of time, without checkpoints; with a filter for each source."""
    shown = [event for event in events if event.type != "Applied"]
    rows = []
    for event in shown[:MAX_EVENTS]:
        at = "" if event.time_ns is None else f"{event.time_ns / NS_PER_S:.3f}"
        rows.append(
            f'<tr data-source="{event.source}"><td>{at}</td><td>{event.source}</td>'
            f"<td>{escape(event.type)}</td><td>{escape(event.message)}</td></tr>"
        )
    sources = list(dict.fromkeys(event.source for event in shown))
    filters = "".join(
        f'<label><input type="checkbox" value="{source}" checked> {source}</label>' for source in sources
    )
    heads = "".join(f"<th>{head}</th>" for head in ("time (s)", "source", "event", "what happened"))
    more = (
        f"<p class='soft'>{len(shown) - MAX_EVENTS} more are in events.ndjson.</p>"
        if len(shown) > MAX_EVENTS
        else ""
    )
    return (
        f'<div class="filters">{filters}</div><div class="events-box"><table class="events"><thead>'
        f"<tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{more}"
    )


def phases(records: Sequence[PhaseRecord]) -> str:
    rows = []
    for record in records:
        lasted = "" if record.ended_at is None else _after(record.started_at, record.ended_at)
        rows.append((record.name, record.started_at[11:23], lasted))
    return table(("phase", "began (UTC)", "lasted"), rows)
