"""Merging the metrics of workers: the same text as one process would write that had seen everything."""

import math
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxy import settings
from proxy.telemetry.aggregation import STATES, merged
from proxy.telemetry.metrics import Metrics

disable_created_metrics()
NAN = float("nan")

LEAST = "shape_proxy_up_to_date_age_seconds"
MOST = "shape_proxy_replication_lag_bytes"
AMOUNT = "shape_proxy_open_requests"
COUNT = "shape_proxy_requests"
TIMES = "shape_proxy_head_seconds"
BUCKETS = (0.5, 1.0, 2.0)

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(text: bytes) -> dict[Sample, float]:
    """Every sample of an exposition, by its name and labels; each may stand there once."""
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def lines(text: bytes) -> list[str]:
    """The lines of an exposition that are samples."""
    return [line for line in text.decode().split("\n") if line and not line.startswith("#")]


# What workers say, as data: for each metric the values by label.

VALUES = st.one_of(st.integers(-(2**40), 2**40).map(float), st.sampled_from([NAN, math.inf, 0.5]))
NUMBERS = st.integers(0, 2**40).map(float)
LABELS = st.one_of(
    st.sampled_from(['"', "\\", "\n", '\\"', "\\n", "a b", "{", "}", ",", "=", "#", "", '",le="1"}', "é"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=5),
)
MEASURED = st.fixed_dictionaries(
    {},
    optional={
        LEAST: st.dictionaries(LABELS, VALUES, max_size=3),
        MOST: st.dictionaries(LABELS, VALUES, max_size=3),
        AMOUNT: st.dictionaries(LABELS, NUMBERS, max_size=3),
        COUNT: st.dictionaries(LABELS, NUMBERS, max_size=3),
        TIMES: st.dictionaries(LABELS, st.lists(st.sampled_from([0.25, 0.75, 1.5, 8.0]), max_size=4), max_size=3),
    },
)
Measured = Mapping[str, Mapping[str, object]]


def told(measured: Measured) -> str:
    """The exposition of one worker."""
    registry = CollectorRegistry()
    for name, values in measured.items():
        if name == COUNT:
            counter = Counter(name, 'Help with "quotes", \\ and\na line.', ["label"], registry=registry)
            for label, value in values.items():
                counter.labels(label).inc(value)
        elif name == TIMES:
            histogram = Histogram(name, "Help.", ["label"], registry=registry, buckets=BUCKETS)
            for label, times in values.items():
                for seconds in (histogram.labels(label), times)[1]:
                    histogram.labels(label).observe(seconds)
        else:
            gauge = Gauge(name, "Help.", ["label"], registry=registry)
            for label, value in values.items():
                gauge.labels(label).set(value)
    return generate_latest(registry).decode()


def together(name: str, label: str, workers: Iterable[Measured]) -> float:
    """What several values are together, computed in another way than the code does."""
    values = [worker[name][label] for worker in workers if label in worker.get(name, {})]
    if name not in STATES:
        return math.fsum(values)
    known = [value for value in values if not math.isnan(value)]
    return NAN if not known else min(known) if name == LEAST else max(known)


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@given(st.lists(MEASURED, max_size=4))
def test_amounts_are_added_and_states_are_compared_whatever_the_labels_are(workers: list[Measured]) -> None:
    found = samples(merged(map(told, workers)))
    for name in (LEAST, MOST, AMOUNT, COUNT):
        sample = f"{name}_total" if name == COUNT else name
        labels = {label for worker in workers for label in worker.get(name, {})}
        assert {dict(key[1])["label"] for key in found if key[0] == sample} == labels
        for label in labels:
            assert same(found[sample, frozenset({("label", label)})], together(name, label, workers))


@given(st.lists(MEASURED, max_size=4))
def test_the_histogram_of_all_is_that_of_one_who_saw_everything(workers: list[Measured]) -> None:
    everything: dict[str, list[float]] = {}
    for worker in workers:
        for label, times in worker.get(TIMES, {}).items():
            everything.setdefault(label, []).extend(times)
    one = samples(told({TIMES: everything}).encode())
    assert {key: value for key, value in samples(merged(map(told, workers))).items() if TIMES in key[0]} == one


@given(MEASURED)
def test_the_text_of_one_worker_stays_as_it_is(worker: Measured) -> None:
    assert merged([told(worker)]).decode() == told(worker)


@given(st.lists(MEASURED, max_size=3))
def test_merging_what_is_merged_changes_nothing(workers: list[Measured]) -> None:
    text = merged(map(told, workers))
    assert merged([text.decode()]) == text


# Order.


def test_the_first_text_says_the_order_and_others_add_behind_it() -> None:
    first = {MOST: {"b": 1.0, "a": 1.0}, COUNT: {"z": 1.0}}
    other = {AMOUNT: {"x": 1.0}, COUNT: {"y": 1.0, "z": 1.0}, MOST: {"a": 2.0, "c": 1.0}}
    assert lines(merged([told(first), told(other)])) == [
        f'{MOST}{{label="b"}} 1.0',
        f'{MOST}{{label="a"}} 2.0',
        f'{MOST}{{label="c"}} 1.0',
        f'{COUNT}_total{{label="z"}} 2.0',
        f'{COUNT}_total{{label="y"}} 1.0',
        f'{AMOUNT}{{label="x"}} 1.0',
    ]


def test_type_and_help_stand_once_for_each_metric() -> None:
    text = merged([told({COUNT: {"a": 1.0}}), told({COUNT: {"b": 1.0}})]).decode()
    assert text.split("\n")[:2] == [
        f'# HELP {COUNT}_total Help with "quotes", \\\\ and\\na line.',
        f"# TYPE {COUNT}_total counter",
    ]
    assert text.count("# ") == 2


def test_nothing_together_is_nothing() -> None:
    assert merged([]) == b""


# No number.

UNKNOWN = {
    "both unknown": ((NAN, NAN), NAN, NAN),
    "the first": ((NAN, 2.0), 2.0, 2.0),
    "the second": ((2.0, NAN), 2.0, 2.0),
    "one of three": ((3.0, NAN, 1.0), 1.0, 3.0),
    "none": ((3.0, 1.0), 1.0, 3.0),
}


@pytest.mark.parametrize(("values", "least", "most"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_a_worker_does_not_know_is_asked_of_the_others(
    values: tuple[float, ...], least: float, most: float
) -> None:
    text = merged(told({LEAST: {"a": value}, MOST: {"a": value}}) for value in values)
    found = samples(text)
    assert same(found[LEAST, frozenset({("label", "a")})], least)
    assert same(found[MOST, frozenset({("label", "a")})], most)


# The metrics that there are.


def own(**variables: int) -> str:
    return Metrics(lambda: 3, lambda: {"verified": 2, "cached": 1}, 100).text().decode()


def test_every_state_is_a_gauge_that_exists() -> None:
    kinds = {family.name: family.type for family in text_string_to_metric_families(own())}
    assert {name: kinds.get(name) for name in STATES} == dict.fromkeys(STATES, "gauge")


def test_every_metric_of_one_is_a_metric_of_all() -> None:
    assert samples(merged([own(), own()])).keys() == samples(own().encode()).keys()


def test_a_single_process_and_several_say_it_in_the_same_lines() -> None:
    def names(text: str) -> list[str]:
        return [line.rpartition(" ")[0] for line in text.split("\n") if not line.startswith("#")]

    assert names(merged([own(), own()]).decode()) == names(own())
    assert settings.Settings.model_fields["workers"].default == 1
