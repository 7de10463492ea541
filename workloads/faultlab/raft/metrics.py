"""What `/metrics` shows of a member. Imported when first asked for: the library takes a while to load."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Numbers = Mapping[str, tuple[str, float]]
"""Documentation and value by name."""
LabelledNumbers = Mapping[str, tuple[str, str, Mapping[str, int]]]
"""Documentation, a label's name, and by the label's value the number."""


class _Collector:
    def __init__(self, gauges: Numbers, counters: Numbers, labelled: LabelledNumbers) -> None:
        self._gauges = gauges
        self._counters = counters
        self._labelled = labelled

    def collect(self) -> Iterator[Metric]:
        yield from (_family(GaugeMetricFamily, item) for item in self._gauges.items())
        yield from (_family(CounterMetricFamily, item) for item in self._counters.items())
        for name, (documentation, label, values) in self._labelled.items():
            family = CounterMetricFamily(f"faultlab_{name}", documentation, labels=[label])
            for of, value in values.items():
                family.add_metric([of], value)
            yield family

    def describe(self) -> Iterable[Metric]:
        return ()


def _family(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily], item: tuple[str, tuple[str, float]]
) -> Metric:
    name, (documentation, value) = item
    return kind(f"faultlab_{name}", documentation, value=value)


def render(gauges: Numbers, counters: Numbers, labelled_counters: LabelledNumbers) -> bytes:
    """Prometheus' text format; names come without their prefix."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(gauges, counters, labelled_counters))
    return generate_latest(registry)
