# SPDX-License-Identifier: Apache-2.0
"""HTTP requests of the checks. A failure is one word: exceptions of HTTP clients hold URLs, and those hold secrets."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from proxy.http1.origin import authorities

MOST_BYTES = 1_048_576


class NoAnswerError(Exception):
    """Nothing usable was answered; the text is the kind of failure."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `clock` is the middle of the time that it took, by our own clock."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    clock: float


class Asker:
    """Sends requests to one origin. Close it, or use it as a context manager."""

    def __init__(self, url: str, seconds: float) -> None:
        self.url = url
        self._client = httpx.Client(timeout=seconds, trust_env=False, verify=authorities(url))

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(
        self,
        path: str = "",
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request, read whole. Raises NoAnswerError."""
        began = time.time()
        with self._stream(path, method, query, headers) as answer:
            body = b"".join(_bounded(answer.iter_bytes()))
            return Reply(answer.status_code, dict(answer.headers), body, (began + time.time()) / 2)

    def first_piece(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and first piece of the body of an answer that may be endless. Raises NoAnswerError."""
        with self._stream(path, "GET", query, headers) as answer:
            return answer.status_code, next(answer.iter_raw(), b"")

    @contextmanager
    def _stream(
        self, path: str, method: str, query: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> Iterator[httpx.Response]:
        try:
            with self._client.stream(method, self.url + path, params=query, headers=headers) as answer:
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as fault:
            raise NoAnswerError(type(fault).__name__) from None


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > MOST_BYTES:
            raise NoAnswerError("TooLarge")
        yield piece
