"""What all charts over time share: the time axis, the fault's band, the lines of leader changes."""

from collections.abc import Sequence
from dataclasses import dataclass

from faultlab_operator.report.svg import Linear, element, ticks

WIDTH = 1120
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 30, 34
LABEL_ROWS = 5
LETTER = 7.0
"""About the width of a letter in pixels."""


@dataclass(frozen=True)
class Band:
    """A fault, from its injection to its heal."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A moment at which somebody was elected."""

    at_s: float
    label: str


@dataclass(frozen=True)
class Frame:
    """One time axis for all charts, so that the same moment stands at the same place."""

    start_s: float
    end_s: float
    bands: tuple[Band, ...]
    marks: tuple[Mark, ...]

    @property
    def x(self) -> Linear:
        return Linear(self.start_s, self.end_s, LEFT, WIDTH - RIGHT)


def chart(
    frame: Frame, height: int, title: str, back: Sequence[str], body: Sequence[str], *, named: bool
) -> str:
    """A whole chart: `back` lies under the fault's band, `body` above it; with `named`, who and what."""
    below = height - BOTTOM
    parts = [
        *back,
        *_bands(frame, below, named=named),
        *body,
        *_marks(frame, below, named=named),
        *_time_axis(frame, below),
        element("line", class_="cursor", x1=LEFT, x2=LEFT, y1=TOP, y2=below),
    ]
    inner = element("title", title) + "".join(parts)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" data-left="{LEFT}" '
        f'data-right="{WIDTH - RIGHT}">{inner}</svg>'
    )


def value_axis(places: Sequence[tuple[float, str]], unit: str) -> list[str]:
    """Lines across with their labels; `places` are (y, label)."""
    lines = []
    for y, label in places:
        lines.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        lines.append(element("text", label, class_="tick", x=LEFT - 8, y=y + 4, text_anchor="end"))
    lines.append(element("text", unit, class_="unit", x=6, y=TOP - 14))
    return lines


def _time_axis(frame: Frame, below: float) -> list[str]:
    parts = [element("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=below, y2=below)]
    for value in ticks(frame.start_s, frame.end_s, 12):
        x = frame.x(value)
        parts.append(element("line", class_="axis", x1=x, x2=x, y1=below, y2=below + 5))
        parts.append(element("text", f"{value:g}", class_="tick", x=x, y=below + 18, text_anchor="middle"))
    label = "seconds since the load began"
    parts.append(element("text", label, class_="unit", x=WIDTH - RIGHT, y=below + 31, text_anchor="end"))
    return parts


def _bands(frame: Frame, below: float, *, named: bool) -> list[str]:
    parts = []
    for band in frame.bands:
        x1, x2 = frame.x(max(band.start_s, frame.start_s)), frame.x(min(band.end_s, frame.end_s))
        if x2 <= x1:
            continue
        parts.append(element("rect", class_="band", x=x1, y=TOP, width=x2 - x1, height=below - TOP))
        if named:
            parts.append(
                element(
                    "text", band.label, class_="band-label", x=(x1 + x2) / 2, y=TOP - 8, text_anchor="middle"
                )
            )
    return parts


def _marks(frame: Frame, below: float, *, named: bool) -> list[str]:
    """Labels that would overlap go one line lower, as far as there is room."""
    parts: list[str] = []
    free_from = [0.0] * LABEL_ROWS
    for mark in sorted(frame.marks, key=lambda each: each.at_s):
        if not frame.start_s <= mark.at_s <= frame.end_s:
            continue
        x = frame.x(mark.at_s)
        parts.append(element("line", class_="mark", x1=x, x2=x, y1=TOP, y2=below))
        row = next((row for row, free in enumerate(free_from) if free <= x), None)
        if not named or row is None:
            continue
        width = LETTER * len(mark.label)
        free_from[row] = x + width + 12
        fits = x + width < WIDTH - RIGHT
        place = {"x": x + 5 if fits else x - 5, "y": TOP + 12 + 15 * row}
        anchor = "start" if fits else "end"
        parts.append(element("text", mark.label, class_="mark-label", text_anchor=anchor, **place))
    return parts
