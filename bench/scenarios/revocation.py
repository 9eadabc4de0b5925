# SPDX-License-Identifier: Apache-2.0
"""Revocation: from the row's arrival at Electric's reader to the end of the last open request of its subject."""

import time

from bench import answers, ours
from bench.control import Mock
from bench.peers import Running
from bench.runs import Bench, Figures, percentile
from bench.scenarios.waits import LIVE, WAIT_SECONDS
from bench.subscribers import Subscribers

OPEN = 5_000
REVOKED = b'"code":"token_revoked"'
TABLE = "public.shape_proxy_revocations"


def revocation(bench: Bench) -> dict[str, Figures]:
    """5,000 polls of as many tokens, all of whose organisation is revoked by one row; beside them a tenth more of
    another organisation, which stay. Half of the polls share their requests to Electric with the other half."""
    count = 1_000 if bench.quick else min(OPEN, bench.subscribers)
    stay = count // 10

    def measure(running: Running, mock: Mock) -> Figures:
        shapes = count // 2
        bearers = ours.bearers(count, shapes, org="gone")
        staying = ours.bearers(stay, shapes, org="stays")
        opened, left = Subscribers(), Subscribers()
        try:
            mock.wait_for("held", 1)  # its own poll: from then on the proxy knows what is revoked, and serves
            left.open(running.port, [ours.request(bearer, "0_0", n % shapes, LIVE) for n, bearer in enumerate(staying)])
            opened.open(
                running.port, [ours.request(bearer, "0_0", n % shapes, LIVE) for n, bearer in enumerate(bearers)]
            )
            mock.wait_for("held", shapes + 1)  # and the poll of the proxy's own
            time.sleep(0.5)
            mock.send("revoke", kind="claim:org", value="gone")
            times = opened.served(REVOKED, WAIT_SECONDS)
            at = mock.reply()["at"]
            mock.send("wake")
            kept = left.served(answers.DONE, WAIT_SECONDS)
            mock.reply()
        finally:
            opened.close()
            left.close()
        delays = [(each - at) * 1000 for each in times]
        return {
            "ended": len(delays) / count,
            "kept": len(kept) / stay,
            "p50_ms": percentile(delays, 0.5),
            "p99_ms": percentile(delays, 0.99),
            "last_ms": max(delays),
        }

    return bench.compare("revocation", measure, ours.peer(bench.tree, revocations_table=TABLE))
