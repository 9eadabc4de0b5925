# SPDX-License-Identifier: Apache-2.0
"""What Electric reports about its own health."""

from types import TracebackType
from typing import Final, Self

import httpx

from proxy.http1.origin import authorities

STATES: Final = frozenset({"active", "starting", "waiting"})
UNREACHABLE: Final = "unreachable"


class ElectricProbe:
    """Asks for Electric's health; an async context manager, for its connections."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = f"{url}/v1/health"
        self._client = httpx.AsyncClient(timeout=seconds, trust_env=False, verify=authorities(url))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def state(self) -> str:
        """`active`, `starting`, `waiting`, or `unreachable`."""
        try:
            answer = await self._client.get(self._url)
            state = answer.json()["status"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return UNREACHABLE
        return state if state in STATES else UNREACHABLE
