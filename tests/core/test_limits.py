"""The default bounds: a change of one is a decision, so they stand here once more."""

from dataclasses import FrozenInstanceError, asdict

import pytest

from proxy.core.limits import Limits


def test_these_are_the_bounds_on_one_request() -> None:
    assert asdict(Limits()) == {
        "query_bytes": 24_576,
        "query_pairs": 512,
        "body_bytes": 1_048_576,
        "json_depth": 64,
        "json_values": 32_768,
        "params": 10_000,
        "param_bytes": 1024,
        "params_bytes": 1_048_576,
        "subset_offset": 1_000_000,
        "target_bytes": 9000,
    }


def test_bounds_do_not_change_while_the_proxy_runs() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().query_bytes = 1  # type: ignore[misc]
