"""Prints every message of a shape, forever: `pip install httpx httpx-sse`, then `python follow.py`.

There is no Python package for shape-proxy, because following a shape is what stands here.
"""

import json
import time
from collections.abc import Iterator

import httpx
from httpx_sse import EventSource, connect_sse

SHAPE = "https://shapes.example/v1/shape"


def token(client: httpx.Client) -> str:
    return client.get("https://app.example/token").raise_for_status().json()["token"]


class Shape:
    """A shape, followed from its first row on."""

    def __init__(self, client: httpx.Client, **params: str) -> None:
        self.client, self.params = client, params
        self.start()
        self.refresh()

    def start(self) -> None:
        self.position, self.live = {"offset": "-1"}, {}

    def refresh(self) -> None:
        self.headers = {"authorization": f"Bearer {token(self.client)}"}

    def messages(self) -> Iterator[dict]:
        refused = 0
        while True:
            params = self.params | self.position | self.live
            try:
                with connect_sse(self.client, "GET", SHAPE, params=params, headers=self.headers) as source:
                    status, seconds = source.response.status_code, source.response.headers.get("retry-after", "1")
                    refused = refused + 1 if status == 401 else 0
                    if status == 200:
                        yield from self.events(source) if self.live else self.rows(source.response)
                    elif status == 409:  # the shape begins again: forget its rows
                        self.start()
                        yield {"headers": {"control": "must-refetch"}}
                    elif refused == 1:
                        self.refresh()  # the position stays
                    elif status == 429 or status >= 500:
                        time.sleep(float(seconds))
                    else:
                        source.response.raise_for_status()
            except httpx.TransportError:
                time.sleep(1)

    def rows(self, answer: httpx.Response) -> Iterator[dict]:
        messages = json.loads(answer.read())
        self.position = {name: answer.headers[f"electric-{name}"] for name in ("handle", "offset")}
        if "electric-up-to-date" in answer.headers:  # the value is empty
            self.live = {"live": "true", "live_sse": "true"}
        yield from messages

    def events(self, source: EventSource) -> Iterator[dict]:
        batch = []
        for event in source.iter_sse():
            batch.append(message := json.loads(event.data))
            if message["headers"].get("control") == "up-to-date":  # the batch is complete
                self.position["offset"] = f"{message['headers']['global_last_seen_lsn']}_0"
                yield from batch
                batch = []


with httpx.Client(timeout=90) as client:
    for message in Shape(client, table="chat_messages").messages():
        print(json.dumps(message), flush=True)
