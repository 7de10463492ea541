"""What proves a failed check, for people: guilty operations on a timeline, guilty events in a table."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from faultlab_operator.report.svg import Linear, element
from faultlab_operator.scenario.times import NS_PER_MS, NS_PER_S

WIDTH, LEFT, RIGHT, ROW = 1060, 190, 24, 30


def evidence(found: Any) -> str:
    """HTML for a check's evidence; empty without any."""
    if not isinstance(found, Mapping):
        return ""
    parts = []
    if found.get("window"):
        parts.append(_window(str(found.get("key")), found["window"]))
    if found.get("events"):
        parts.append(_events(found["events"]))
    return "".join(parts)


def _window(key: str, operations: Sequence[Mapping[str, Any]]) -> str:
    said = (
        f"<p>These {len(operations)} operations on key <code>{escape(key)}</code> have no order in which "
        "every answer makes sense. Each bar lasts from the request to its answer; an operation took effect "
        "somewhere within its bar. A bar with an open end was never answered.</p>"
    )
    return said + _timeline(operations) + _table(operations)


def _timeline(operations: Sequence[Mapping[str, Any]]) -> str:
    starts = [int(op["startNs"]) for op in operations]
    known_ends = [int(op["endNs"]) for op in operations if op.get("endNs") is not None]
    low, high = min(starts), max([*known_ends, *starts])
    margin = max(NS_PER_MS, (high - low) // 12)
    x = Linear(low - margin, high + margin, LEFT, WIDTH - RIGHT)
    height = ROW * len(operations) + 34
    parts = []
    for row, op in enumerate(sorted(operations, key=lambda each: int(each["startNs"]))):
        y = 8 + row * ROW
        end = op.get("endNs")
        x1 = x(int(op["startNs"]))
        x2 = WIDTH - RIGHT if end is None else max(x1 + 3, x(int(end)))
        who = f"client {op['process']} at {op.get('member') or '?'}"
        parts.append(element("text", who, class_="tick", x=LEFT - 10, y=y + 16, text_anchor="end"))
        kind = "open" if end is None else ("read-op" if op["f"] == "read" else "write-op")
        parts.append(
            element("rect", class_=f"op {kind}", x=x1, y=y + 2, width=x2 - x1, height=ROW - 10, rx=3)
        )
        inside = x2 - x1 > 150
        near_end = x2 > WIDTH - 220
        anchor = "start" if inside or not near_end else "end"
        place = x1 + 6 if inside else (x2 + 6 if not near_end else x1 - 6)
        label = describe(op) + ("" if op.get("term") is None else f" · term {op['term']}")
        parts.append(element("text", label, class_="op-label", x=place, y=y + 16, text_anchor=anchor))
    parts.append(
        element("text", f"{(high - low) / NS_PER_MS:.3f} ms from the first request to the last answer, "
                f"{low / NS_PER_S:.3f} s after the load began", class_="unit", x=LEFT, y=height - 6)
    )  # fmt: skip
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img">{"".join(parts)}</svg>'


def describe(op: Mapping[str, Any]) -> str:
    """`read → 17`, `write 17`, `cas 16 → 17 (unknown)`."""
    asked = op.get("value")
    if op["f"] in ("read", "get"):
        said = f"{op['f']} → {op.get('result') if op.get('result') is not None else 'nothing'}"
    elif op["f"] == "cas" and isinstance(asked, Sequence) and len(asked) == 2:
        said = f"cas {asked[0]} → {asked[1]}"
    elif op["f"] == "incr":
        said = "incr" if op.get("result") is None else f"incr → {op['result']}"
    else:
        said = f"{op['f']} {asked}"
    return said if op["outcome"] == "ok" else f"{said} ({'unknown' if op['outcome'] == 'info' else 'failed'})"


def _table(operations: Sequence[Mapping[str, Any]]) -> str:
    heads = ("start (s)", "end (s)", "client", "member", "term", "operation", "error")
    rows = [
        (
            f"{int(op['startNs']) / NS_PER_S:.6f}",
            "never" if op.get("endNs") is None else f"{int(op['endNs']) / NS_PER_S:.6f}",
            op["process"],
            op.get("member") or "",
            "" if op.get("term") is None else op["term"],
            describe(op),
            op.get("error") or "",
        )
        for op in sorted(operations, key=lambda each: int(each["startNs"]))
    ]
    return table(heads, rows)


def _events(events: Sequence[Mapping[str, Any]]) -> str:
    heads = ("time (UTC)", "member", "event", "term", "index", "digest", "what")
    rows = [
        (
            str(event["wallTime"])[11:26],
            event.get("subject") or "",
            event["type"],
            event.get("term", ""),
            event.get("index", ""),
            event.get("digest", ""),
            event["message"],
        )
        for event in events
    ]
    return "<p>The members' own events that contradict each other:</p>" + table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], class_: str = "") -> str:
    """A table of escaped cells."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table class="{class_}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
