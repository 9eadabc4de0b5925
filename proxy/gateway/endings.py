# SPDX-License-Identifier: Apache-2.0
"""How requests end, in the words of the log and the metrics."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.core.errors import Code, Refusal
from proxy.gateway.open_requests import End

CLIENT_GONE: Final = 499
"""What the log calls the status of a request whose client left before the head (nginx' word for it)."""

UPSTREAM_BROKE: Final = "upstream_broke"
REVOKED: Final = Code.token_revoked.name

RELAYED: Final[Mapping[int, str]] = {400: "upstream_400", 409: "upstream_409", 503: "upstream_503"}
"""How a request ended whose answer is Electric's own, but no success: its fault, a shape made again, an outage."""

REFUSED: Final[Mapping[End, Refusal]] = {
    End.token_over: Refusal(Code.token_expired),
    End.token_revoked: Refusal(Code.token_revoked),
    End.draining: Refusal(Code.draining),
}
"""How a poll that still waits is refused at these ends, in one value for all; at the others there is nobody to
answer."""


def refusal_of(fault: Exception) -> Refusal:
    """The refusal that a fault is; anything else is a bug of ours, and refused as one. Its text may hold a client's
    words, so the log gets file and line. Without the frames that it was raised in: they hold the request."""
    if not isinstance(fault, Refusal):
        frame = traceback.extract_tb(fault.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        fault = Refusal(Code.internal_error, reason=f"{type(fault).__name__} at {place}")
    return fault.with_traceback(None)
