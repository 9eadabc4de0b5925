# SPDX-License-Identifier: Apache-2.0
"""Clocks: a token's times are those of its issuer's clock, and are judged by ours."""

from email.utils import parsedate_to_datetime

from proxy.doctor.asking import Asker, NoAnswerError
from proxy.doctor.findings import Finding, error, ok, warning

NOTICED_SECONDS = 2
"""The header `date` has whole seconds, and an answer takes time."""

_SYNC = "synchronise the clocks (NTP) of this machine and the other"


def clock_finding(asker: Asker, path: str, leeway_seconds: float) -> Finding:
    """How far the clock behind an address is from ours, by the `date` of its answer."""
    check = "clock"
    try:
        reply = asker.ask(path)
        theirs = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except NoAnswerError as fault:
        return warning(check, f"{asker.url} does not answer ({fault})", "correct the address, or open the way to it")
    except (KeyError, ValueError):
        return warning(check, f"{asker.url} sends no date", f"compare the clocks yourself; {_SYNC}")
    apart = theirs + 0.5 - reply.clock
    if abs(apart) <= NOTICED_SECONDS:
        return ok(check, f"the clock of {asker.url} agrees with ours")
    message = f"the clock of {asker.url} is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} ours"
    if abs(apart) > leeway_seconds:
        return error(check, f"{message}, more than the {leeway_seconds:g} s that are tolerated", _SYNC)
    return warning(check, message, _SYNC)
