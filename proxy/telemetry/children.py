"""What prometheus-client lacks: the children of a metric, each bound once, and counters that others count."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Children(dict[tuple[str, ...], Any]):
    """The children of a metric by their labels: `labels()` itself costs twice what the count does."""

    def __init__(self, metric: Counter | Gauge | Histogram) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        child = self[labels] = self._metric.labels(*labels)
        return child


class Told(Collector):
    """A counter whose values are asked for at each scrape: by the values of its one label, or without one by ""."""

    def __init__(
        self, registry: CollectorRegistry, name: str, help_: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        self._name, self._help, self._label, self._values = name, help_, label, values
        registry.register(self)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The counter, as it stands now."""
        labels = [self._label] if self._label else []
        family = CounterMetricFamily(self._name, self._help, labels=labels)
        for value, count in self._values().items():
            family.add_metric([value] if labels else [], count)
        yield family
