"""The default bounds: a change of one is a decision, so they stand here once more."""

from dataclasses import FrozenInstanceError, asdict

import pytest

from proxy.core.limits import Limits


def test_these_are_the_bounds_on_one_request() -> None:
    assert asdict(Limits()) == {
        "query_bytes": 12_288,
        "body_bytes": 65_536,
        "json_depth": 64,
        "params": 100,
        "param_bytes": 1024,
        "params_bytes": 4096,
        "subset_offset": 1_000_000,
        "target_bytes": 9000,
    }


def test_bounds_do_not_change_while_the_proxy_runs() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().query_bytes = 1  # type: ignore[misc]
