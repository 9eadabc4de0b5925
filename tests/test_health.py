"""When the process should get traffic, and what it says when it should not."""

from proxy.health.readiness import Readiness


def ready_one(failures: int = 3, *, requires_electric: bool = False) -> Readiness:
    readiness = Readiness(failures, requires_electric=requires_electric)
    readiness.policies = 13
    readiness.saw("active")
    return readiness


def test_a_process_with_policies_is_ready_whatever_electric_does() -> None:
    readiness = Readiness(1)
    readiness.policies = 1
    assert readiness.ready
    assert not readiness.electric_active
    readiness.saw("unreachable")
    readiness.answered(well=False)
    assert (readiness.ready, readiness.missing) == (True, "")


def test_where_it_must_be_electric_decides_and_must_have_been_seen() -> None:
    readiness = Readiness(3, requires_electric=True)
    readiness.policies = 1
    assert not readiness.ready
    assert readiness.missing == "electric_active"
    readiness.saw("active")
    assert readiness.ready
    assert readiness.missing == ""


def test_it_is_not_ready_without_policies() -> None:
    readiness = Readiness(1)
    readiness.saw("active")
    assert (readiness.ready, readiness.missing) == (False, "policies_loaded")


def test_one_failed_probe_says_little() -> None:
    readiness = ready_one(failures=3, requires_electric=True)
    for state, ready in [("unreachable", True), ("starting", True), ("waiting", False), ("unreachable", False)]:
        readiness.saw(state)
        assert readiness.ready is readiness.electric_active is ready


def test_one_success_brings_it_back() -> None:
    readiness = ready_one(failures=2, requires_electric=True)
    for _ in range(1000):
        readiness.saw("unreachable")
    assert not readiness.ready
    readiness.saw("active")
    assert readiness.ready
    readiness.saw("unreachable")
    assert readiness.ready


def test_a_success_between_failures_starts_the_count_anew() -> None:
    readiness = ready_one(failures=2, requires_electric=True)
    for state in ["unreachable", "active", "unreachable", "active", "unreachable"]:
        readiness.saw(state)
        assert readiness.ready


def test_shapes_are_away_after_failures_in_a_row_and_back_after_one_answer() -> None:
    readiness = ready_one(failures=2)
    told = [readiness.answered(well=well) for well in (False, True, False, False, False, True, True)]
    assert told == [False, False, False, True, False, True, False]
    readiness.answered(well=False)
    assert readiness.shapes_available
    readiness.answered(well=False)
    assert not readiness.shapes_available
    assert readiness.report()["shapes_available"] is False
    assert readiness.report()["electric_active"] is True


def test_it_is_not_ready_while_it_drains() -> None:
    readiness = ready_one()
    readiness.draining = True
    assert (readiness.ready, readiness.missing) == (False, "not_draining")


def test_everything_that_is_missing_is_told() -> None:
    readiness = Readiness(1, requires_electric=True)
    readiness.draining = True
    assert readiness.missing == "policies_loaded,electric_active,not_draining"


def test_the_report_has_the_verdict_the_conditions_and_what_electric_said() -> None:
    report = ready_one().report()
    assert report["ready"] is True
    assert report["checks"] == {"policies_loaded": True, "not_draining": True}
    assert report["electric"] == "active"
    assert report["electric_active"] is report["shapes_available"] is True
    demanding = ready_one(requires_electric=True).report()
    assert demanding["checks"] == {"policies_loaded": True, "electric_active": True, "not_draining": True}
    readiness = Readiness(3)
    assert readiness.report()["electric"] == "unknown"
    assert readiness.report()["ready"] is False


def test_the_report_says_why_a_condition_is_not_met() -> None:
    readiness = ready_one(failures=2, requires_electric=True)
    assert readiness.report()["why"] == {}
    readiness.saw("starting")
    readiness.saw("starting")
    readiness.policies, readiness.draining = 0, True
    assert readiness.report()["why"] == {
        "policies_loaded": "no policy is in force",
        "electric_active": "2 of 2 probes in a row found Electric starting",
        "not_draining": "the process ends when its open requests have",
    }


def test_a_lag_is_told_and_decides_nothing() -> None:
    readiness = ready_one()
    readiness.lag = {"delivery": "unknown"}
    assert readiness.ready
    assert readiness.report()["lag"] == {"delivery": "unknown"}
