"""The charts over time: throughput, latency, and the members' roles as lanes."""

from collections.abc import Mapping, Sequence

from faultlab_operator.report.frame import BOTTOM, LEFT, TOP, Frame, chart, value_axis
from faultlab_operator.report.series import BUCKET_MS, Bucket, Buckets, Stretch
from faultlab_operator.report.svg import Linear, Logarithmic, area, element, polyline, ticks

PER_SECOND = 1000 / BUCKET_MS
HEIGHT = 260
LANE_HEIGHT = 26


def throughput(frame: Frame, buckets: Buckets) -> str:
    """Answered reads and writes stacked; refused and unknown as lines."""
    below = HEIGHT - BOTTOM
    highest = max((_top(bucket) for bucket in buckets.buckets), default=0) * PER_SECOND
    y = Linear(0, max(10.0, highest * 1.08), below, TOP)
    times = [frame.x(buckets.middle_s(index)) for index in range(len(buckets.buckets))]

    def line(values: Sequence[float]) -> list[tuple[float, float]]:
        return [(x, y(value * PER_SECOND)) for x, value in zip(times, values, strict=True)]

    some = buckets.buckets
    ground = line([0] * len(some))
    reads = line([bucket.reads for bucket in some])
    both = line([bucket.reads + bucket.writes for bucket in some])
    axis = value_axis([(y(value), f"{value:g}") for value in ticks(0, y.high, 5)], "operations/s")
    body = [
        area(reads, ground, "reads"),
        area(both, reads, "writes"),
        polyline(line([bucket.refused for bucket in some]), "refused"),
        polyline(line([bucket.unknown for bucket in some]), "unknown"),
    ]
    return chart(frame, HEIGHT, "Operations per second over time", axis, body, named=True)


def latency(frame: Frame, buckets: Buckets) -> str:
    """Percentiles of answered operations on a logarithmic axis."""
    below = HEIGHT - BOTTOM
    highest = max((bucket.percentile_ms(1.0) or 0 for bucket in buckets.buckets), default=0)
    top = 10.0
    while top < highest:
        top *= 10
    low = 0.1
    y = Logarithmic(low, top, below, TOP)
    places = []
    value = low
    while value <= top * 1.001:
        places.append((y(value), f"{value:g}"))
        value *= 10

    def line(fraction: float) -> list[tuple[float, float] | None]:
        points: list[tuple[float, float] | None] = []
        for index, bucket in enumerate(buckets.buckets):
            found = bucket.percentile_ms(fraction)
            points.append(None if found is None else (frame.x(buckets.middle_s(index)), y(found)))
        return points

    body = [polyline(line(1.0), "max"), polyline(line(0.99), "p99"), polyline(line(0.5), "p50")]
    return chart(frame, HEIGHT, "Latency over time", value_axis(places, "ms"), body, named=False)


def lanes(
    frame: Frame, roles: Mapping[str, Sequence[Stretch]], cut_off: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """One lane a member, coloured by role; `cut_off` are the times at which it was on the cut-off side."""
    height = TOP + LANE_HEIGHT * len(roles) + BOTTOM
    body: list[str] = []
    for row, (member, stretches) in enumerate(roles.items()):
        y = TOP + row * LANE_HEIGHT
        body.append(element("text", member, class_="tick", x=LEFT - 8, y=y + 17, text_anchor="end"))
        for stretch in stretches:
            body += _stretch(frame, stretch, y)
        for start_s, end_s in cut_off.get(member, ()):
            x1, x2 = frame.x(max(start_s, frame.start_s)), frame.x(min(end_s, frame.end_s))
            if x2 > x1:
                body.append(
                    element("rect", class_="cut-off", x=x1, y=y + 3, width=x2 - x1, height=LANE_HEIGHT - 6)
                )
    return chart(frame, height, "Each member's role over time", [], body, named=False)


def _stretch(frame: Frame, stretch: Stretch, y: float) -> list[str]:
    x1, x2 = frame.x(stretch.start_s), frame.x(stretch.end_s)
    said = f"{stretch.role}, term {stretch.term}: {stretch.start_s:.3f} s to {stretch.end_s:.3f} s"
    bar = (
        f'<rect class="role {stretch.role}" x="{x1:.2f}" y="{y + 3}" width="{max(1.0, x2 - x1):.2f}" '
        f'height="{LANE_HEIGHT - 6}"><title>{said}</title></rect>'
    )
    if stretch.role == "leader" and x2 - x1 > 60:
        return [bar, element("text", f"leads term {stretch.term}", class_="lane-label", x=x1 + 6, y=y + 17)]
    return [bar]


def _top(bucket: Bucket) -> int:
    return max(bucket.reads + bucket.writes, bucket.refused, bucket.unknown)
