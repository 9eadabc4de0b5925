# SPDX-License-Identifier: Apache-2.0
"""Several workers' metrics as one text (Prometheus text format 0.0.4): counts are added, states are compared."""

from collections.abc import Callable, Iterable, Mapping
from math import isnan

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from proxy.telemetry import table

Fold = Callable[[float, float], float]


def _least(one: float, other: float) -> float:
    return other if isnan(one) else one if isnan(other) else min(one, other)


def _most(one: float, other: float) -> float:
    return other if isnan(one) else one if isnan(other) else max(one, other)


def _sum(one: float, other: float) -> float:
    return one + other


_FOLDS: Mapping[table.Merge, Fold] = {"least": _least, "most": _most, "sum": _sum}

STATES: Mapping[str, Fold] = {
    table.PREFIX + metric.name: _FOLDS[metric.merge] for metric in table.METRICS if metric.merge != "sum"
}
"""Gauges that are states and not amounts: how two workers' values become one. Everything else is added."""


class Merged(Collector):
    """What several texts hold together, as a collector of prometheus-client."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._families: dict[str, Metric] = {}
        for text in texts:
            for family in text_string_to_metric_families(text):
                self._add(family)

    def collect(self) -> Iterable[Metric]:
        """The metrics, in the order of the first text in which each stands."""
        return self._families.values()

    def _add(self, family: Metric) -> None:
        known = self._families.setdefault(family.name, family)
        if known is family:
            return
        fold = STATES.get(family.name, _sum)
        samples = {_key(sample): sample for sample in known.samples}
        for sample in family.samples:
            other = samples.get(_key(sample))
            value = sample.value if other is None else fold(other.value, sample.value)
            samples[_key(sample)] = Sample(sample.name, sample.labels, value)
        known.samples = list(samples.values())


def _key(sample: Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    return sample.name, frozenset(sample.labels.items())


def merged(texts: Iterable[str]) -> bytes:
    """One exposition of all texts."""
    registry = CollectorRegistry()
    registry.register(Merged(texts))
    return generate_latest(registry)
