"""What `/metrics` shows of a member. Imported when first asked for: the library takes a while to load."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class _Collector:
    def __init__(
        self, gauges: Mapping[str, tuple[str, float]], counters: Mapping[str, tuple[str, float]]
    ) -> None:
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        yield from (_family(GaugeMetricFamily, item) for item in self._gauges.items())
        yield from (_family(CounterMetricFamily, item) for item in self._counters.items())

    def describe(self) -> Iterable[Metric]:
        return ()


def _family(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily], item: tuple[str, tuple[str, float]]
) -> Metric:
    name, (documentation, value) = item
    return kind(f"faultlab_{name}", documentation, value=value)


def render(gauges: Mapping[str, tuple[str, float]], counters: Mapping[str, tuple[str, float]]) -> bytes:
    """Prometheus' text format; each metric is a name without prefix, its documentation and its value."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(gauges, counters))
    return generate_latest(registry)
