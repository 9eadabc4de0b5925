"""What the admin listener says, and waits for what it will say."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.harness.plain import plain
from tests.harness.raw import SECONDS
from tests.harness.running import Proxy

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Scrape:
    """One reading of /metrics."""

    def __init__(self, text: str) -> None:
        self.samples: Samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The value of `shape_proxy_<name>` with these labels."""
        return self.samples[f"shape_proxy_{name}", tuple(sorted(labels.items()))]


async def scraped(proxy: Proxy) -> Scrape:
    """The metrics now."""
    async with plain() as client:
        return Scrape((await client.get(f"{proxy.admin_url}/metrics")).text)


async def readiness(proxy: Proxy) -> tuple[int, dict[str, Any]]:
    """The status and body of /ready now."""
    async with plain() as client:
        answer = await client.get(f"{proxy.admin_url}/ready")
        return answer.status_code, answer.json()


async def when(proxy: Proxy, condition: Callable[[Scrape], bool], seconds: float = SECONDS) -> Scrape:
    """The first metrics that meet a condition; no event announces them."""
    end = time.monotonic() + seconds
    while not condition(said := await scraped(proxy)):
        assert time.monotonic() < end, "the metrics never met the condition"
        await asyncio.sleep(0.02)
    return said
