"""The whole report: one HTML file without anything from elsewhere, for people who were not there."""

import html
from importlib import resources
from string import Template
from typing import Any

import msgspec
import yaml

from faultlab.contract.run import VerdictDocument
from faultlab_operator.report import charts
from faultlab_operator.report.frame import Band, Frame, Mark
from faultlab_operator.report.inline import source_hash
from faultlab_operator.report.sections import checks, event_list, faults, phases
from faultlab_operator.report.series import BUCKET_MS, Buckets, bucketed, is_unequal_cas, role_lanes
from faultlab_operator.report.words import happened, number, tiles
from faultlab_operator.scenario.counting import history_ns
from faultlab_operator.scenario.times import NS_PER_S
from faultlab_operator.scenario.verdict import Run

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Wherever the file is opened: it fetches nothing, and only its own script runs."""

MAX_MARKS = 40
"""Leader changes drawn as lines; in a run with more the lanes show them."""


def render_report(run: Run, verdict: VerdictDocument) -> str:
    """The page as text."""
    buckets = bucketed(run.operations)
    frame = _frame(run, buckets)
    unequal = sum(1 for operation in run.operations if is_unequal_cas(operation))
    script = _asset("page.js")
    return Template(_asset("page.html")).substitute(
        policy=f"{POLICY}; script-src {source_hash(script)}",
        style=_asset("page.css"),
        script=script,
        data=_data(frame, buckets),
        title=html.escape(str(run.record.spec.get("title") or verdict.scenario)),
        scenario=html.escape(verdict.scenario),
        verdict=verdict.verdict,
        subtitle=html.escape(_subtitle(verdict)),
        reasons=_reasons(verdict),
        happened=html.escape(happened(run, verdict)),
        description=html.escape(str(run.record.spec.get("description") or "")),
        tiles=tiles(verdict, unequal),
        throughput=charts.throughput(frame, buckets),
        latency=charts.latency(frame, buckets),
        lanes=_lanes(run, frame),
        checks=checks(verdict.checks),
        faults=faults(verdict.faults, _all_members(run)),
        events=event_list(run.events),
        phases=phases(run.record.phases),
        settings=html.escape(
            yaml.safe_dump(verdict.settings, sort_keys=False, allow_unicode=True, width=100)
        ),
        about=_about(verdict),
    )


def _frame(run: Run, buckets: Buckets) -> Frame:
    start, end = buckets.start_s, max(buckets.end_s, buckets.start_s + 1)
    bands, marks = [], []
    record = run.record
    if record.load_started_at is not None:
        for fault in record.faults:
            if fault.injected_at is None:
                continue
            healed = None if fault.healed_at is None else history_ns(record, fault.healed_at) / NS_PER_S
            label = f"cut off: {', '.join(fault.cut_off)}" if fault.cut_off else fault.name
            bands.append(Band(history_ns(record, fault.injected_at) / NS_PER_S, healed or end, label))
        marks = [
            Mark(event.time_ns / NS_PER_S, f"{event.subject} elected, term {event.term}")
            for event in run.events
            if event.type == "LeaderElected" and event.time_ns is not None
        ]
    return Frame(start, end, tuple(bands), tuple(marks[:MAX_MARKS]))


def _lanes(run: Run, frame: Frame) -> str:
    members = _all_members(run)
    roles = role_lanes(run.events, members, frame.start_s, frame.end_s)
    cut_off: dict[str, list[tuple[float, float]]] = {}
    faults_and_bands = zip((f for f in run.record.faults if f.injected_at), frame.bands, strict=False)
    for fault, band in faults_and_bands:
        for member in fault.cut_off:
            cut_off.setdefault(member, []).append((band.start_s, band.end_s))
    return charts.lanes(frame, roles, cut_off)


def _all_members(run: Run) -> list[str]:
    return [name for names in run.record.members.values() for name in names]


def _data(frame: Frame, buckets: Buckets) -> str:
    """For the cursor: one row a bucket, rates a second and latencies in ms."""
    rows = []
    for bucket in buckets.buckets:
        counts = (bucket.reads, bucket.writes, bucket.refused, bucket.unknown)
        rates = [round(count * charts.PER_SECOND) for count in counts]
        latencies = [bucket.percentile_ms(fraction) for fraction in (0.5, 0.99, 1.0)]
        rows.append([*rates, *(None if each is None else round(each, 2) for each in latencies)])
    document: dict[str, Any] = {
        "from": frame.start_s,
        "to": frame.end_s,
        "start": buckets.start_s,
        "width": BUCKET_MS / 1000,
        "rows": rows,
    }
    return msgspec.json.encode(document).decode().replace("<", "\\u003c")


def _subtitle(verdict: VerdictDocument) -> str:
    began = verdict.started_at[:19].replace("T", " ")
    return f"{verdict.scenario} · namespace {verdict.namespace} · {verdict.world} world · {began} UTC"


def _reasons(verdict: VerdictDocument) -> str:
    if not verdict.reasons:
        return ""
    items = "".join(f"<li>{html.escape(reason)}</li>" for reason in verdict.reasons)
    return f"<ul>{items}</ul>"


def _about(verdict: VerdictDocument) -> str:
    said = {"seed": number(verdict.seed, group=False), **verdict.versions}
    return " · ".join(f"{html.escape(name)} <code>{html.escape(text)}</code>" for name, text in said.items())


def _asset(name: str) -> str:
    return resources.files("faultlab_operator.report").joinpath("assets", name).read_text(encoding="utf-8")
