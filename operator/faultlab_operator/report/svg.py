"""SVG as text: a few elements, scales and ticks. Colours come from the page's style by class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


def element(tag: str, text: str = "", **attributes: object) -> str:
    """`class_` becomes class, other underscores hyphens; None leaves an attribute out. `text` is escaped."""
    return _element(tag, escape(text, quote=False), attributes)


def group(children: Sequence[str], **attributes: object) -> str:
    return _element("g", "".join(children), attributes)


def _element(tag: str, inner: str, attributes: dict[str, object]) -> str:
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{said}>{inner}</{tag}>" if inner else f"<{tag}{said}/>"


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Linear:
    """Values between `low` and `high` onto pixels between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


@dataclass(frozen=True)
class Logarithmic:
    """As Linear, in decades; values below `low` are drawn at it."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = math.log10(self.high) - math.log10(self.low) or 1.0
        place = (math.log10(max(value, self.low)) - math.log10(self.low)) / span
        return self.start + place * (self.end - self.start)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers within the range, about so many."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / max(1, about)
    magnitude: float = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def polyline(points: Sequence[tuple[float, float] | None], class_: str) -> str:
    """A line that is broken where a point is None."""
    parts: list[str] = []
    pen_up = True
    for point in points:
        if point is None:
            pen_up = True
            continue
        parts.append(f"{'M' if pen_up else 'L'}{_text(point[0])},{_text(point[1])}")
        pen_up = False
    return element("path", d=" ".join(parts), class_=class_) if parts else ""


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], class_: str) -> str:
    points = [*upper, *reversed(lower)]
    if not points:
        return ""
    path = " L".join(f"{_text(x)},{_text(y)}" for x, y in points)
    return element("path", d=f"M{path}Z", class_=class_)
