# SPDX-License-Identifier: Apache-2.0
"""Connections to PostgreSQL that print values as Electric does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection

Connection = AsyncConnection[Any]
T = TypeVar("T")

FORMATS = (
    "-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=iso_8601 -c bytea_output=hex -c extra_float_digits=1 "
    "-c lc_messages=C -c client_encoding=UTF8 -c standard_conforming_strings=on"
)
"""How values come out (recorded: all_types.json), and errors in the language that we translate from."""

RETRY_SECONDS = 0.05


class NotReady(Exception):
    """PostgreSQL could not be reached in time."""


async def connect(dsn: str) -> Connection:
    """A connection in autocommit."""
    return await AsyncConnection.connect(dsn, autocommit=True, options=FORMATS, connect_timeout=5)


async def work(dsn: str, seconds: float, job: Callable[[Connection], Awaitable[T]]) -> T:
    """Do a job on a connection of its own, again if the connection is lost. NotReady if none can be had in time."""
    while True:
        connection = await _reach(dsn, seconds)
        try:
            async with connection:
                return await job(connection)
        except psycopg.OperationalError:
            if not connection.broken:
                raise


async def _reach(dsn: str, seconds: float) -> Connection:
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await connect(dsn)
                except psycopg.OperationalError:
                    await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError as error:
        raise NotReady from error
