# SPDX-License-Identifier: Apache-2.0
"""What the demo's page is sent as it happens: requests to Electric, the lag, and how many clients there are."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any, Final

from proxy.demo.tap import Sent
from proxy.telemetry.events import DeliveryMeasured, Observation

KEPT: Final = 60
POINTS: Final = 300
WAITING: Final = 500
"""Events that wait for a page that does not read; then it has to come again."""

HEARTBEAT: Final = "heartbeat"
END: Final = ""


class Feed:
    """Gives every page all events, from a short past on. Call it with the proxy's observations."""

    def __init__(self, clients: Callable[[], int]) -> None:
        self._clients = clients
        self._sent: deque[Sent] = deque(maxlen=KEPT)
        self._open: dict[int, Sent] = {}
        self._lag: deque[tuple[float, float]] = deque(maxlen=POINTS)
        self._pages: set[asyncio.Queue[str]] = set()

    def __call__(self, seen: Observation) -> None:
        """Takes an observation of the proxy: the delivery lag is shown as the proxy measures it."""
        if isinstance(seen, DeliveryMeasured):
            for lag in seen.lags:
                self._lag.append((time.time(), lag))
                self._publish("lag", self._lag[-1])

    def sent(self, sent: Sent) -> None:
        """A request went to Electric, or its answer has begun or ended; the proxy's own heartbeat is left out."""
        if HEARTBEAT in sent.parameters.get("table", ""):
            return
        if sent.number not in self._open and sent.is_open:
            self._sent.append(sent)
        if sent.is_open:
            self._open[sent.number] = sent
        else:
            self._open.pop(sent.number, None)
        self._publish("sent", asdict(sent))
        self.counted()

    def counted(self) -> None:
        """The counts have changed."""
        self._publish("counts", self.counts())

    def counts(self) -> dict[str, Any]:
        """How many clients the crowd has, and the live requests to Electric that are open for each session's chat."""
        open_now = [sent for sent in self._open.values() if sent.parameters.get("live") == "true"]
        sessions = [value for sent in open_now for value in sent.values]
        return {"crowd": self._clients(), "upstream": {one: sessions.count(one) for one in ("s-ada", "s-bob")}}

    async def events(self) -> AsyncIterator[str]:
        """All events as the text of server-sent events, the kept ones first; ends with `close`."""
        queue: asyncio.Queue[str] = asyncio.Queue(WAITING)
        for event in (
            *(_event("sent", asdict(sent)) for sent in self._sent),
            *(_event("lag", point) for point in self._lag),
            _event("counts", self.counts()),
        ):
            yield event
        self._pages.add(queue)
        try:
            while (event := await queue.get()) != END:
                yield event
        finally:
            self._pages.discard(queue)

    def close(self) -> None:
        """Ends every page's events."""
        for queue in list(self._pages):
            _put(queue, END)

    def _publish(self, name: str, data: object) -> None:
        for queue in list(self._pages):
            _put(queue, _event(name, data))


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _put(queue: "asyncio.Queue[str]", event: str) -> None:
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        event = END
    queue.put_nowait(event)
