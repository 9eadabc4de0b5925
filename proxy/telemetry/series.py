# SPDX-License-Identifier: Apache-2.0
"""The values of the metrics: plain numbers in dictionaries, made into Prometheus' families only when they are scraped.

A request changes some ten of them, and a scrape comes every few seconds: so the work is done there.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from proxy.telemetry import table

Labels = tuple[str, ...]
Values = dict[Labels, float]


class Times:
    """One series of a histogram: how many values fell behind each bound and not behind the next, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Histogram(dict[Labels, Times]):
    """The series of a histogram, each made when it is first named."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__()
        self._bounds = bounds

    def __missing__(self, labels: Labels) -> Times:
        made = self[labels] = Times(self._bounds)
        return made


class Series(Collector):
    """All series of one process, by the rows of the table. What has no labels starts at 0."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._values: dict[str, Values] = {}
        self._histograms: dict[str, Histogram] = {}
        self._asked: dict[str, Callable[[], Mapping[Labels, float]]] = {}
        for metric in table.METRICS:
            if metric.type == "histogram":
                self._histograms[metric.name] = Histogram(metric.buckets)
            else:
                self._values[metric.name] = defaultdict(int)
            if not metric.labels:
                self._start(metric)
        self.registry.register(self)

    def _start(self, metric: table.Metric) -> None:
        if metric.type == "histogram":
            self._histograms[metric.name][()]
        else:
            self._values[metric.name][()] = 0

    def values(self, name: str) -> Values:
        """The values of a counter or a gauge by their labels; one that is not there yet is 0."""
        return self._values[name]

    def times(self, name: str) -> Histogram:
        """The series of a histogram by their labels."""
        return self._histograms[name]

    def ask(self, name: str, values: Callable[[], Mapping[Labels, float]]) -> None:
        """Takes the values of a metric from a function, which is called at each scrape."""
        self._asked[name] = values

    def text(self) -> bytes:
        """The exposition format (Prometheus text 0.0.4)."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        """All metrics as they stand now, in the order of the table."""
        for metric in table.METRICS:
            name, help_ = table.PREFIX + metric.name, metric.help
            if metric.type == "histogram":
                yield _histogram(name, help_, metric.labels, self._histograms[metric.name])
                continue
            kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = kind(name, help_, labels=metric.labels)
            asked = self._asked.get(metric.name)
            for labels, value in (asked() if asked else self._values[metric.name]).items():
                family.add_metric(labels, value)
            yield family


def _histogram(name: str, help_: str, labels: Labels, series: Mapping[Labels, Times]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help_, labels=labels)
    for given, times in series.items():
        bounds = map(floatToGoString, (*times.bounds, float("inf")))
        family.add_metric(given, list(zip(bounds, accumulate(times.counts), strict=True)), times.sum)
    return family
