"""Work that can wait."""

import asyncio
from typing import Any

from proxy.http1.deferred import Deferred


async def test_a_few_pieces_are_done_in_each_turn_in_their_order() -> None:
    done: list[int] = []
    deferred = Deferred(done.append, 2)
    for number in range(5):
        deferred.add(number)
    seen = []
    for _ in range(4):
        seen.append(list(done))
        await asyncio.sleep(0)
    assert seen == [[], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


async def test_work_that_adds_work_is_never_done_inside_another() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number < 3:
            deferred.add(number + 1)
        done.append(number)

    deferred = Deferred(work, 1)
    deferred.add(0)
    for _ in range(4):
        await asyncio.sleep(0)
    assert done == [0, 1, 2, 3]


async def test_what_fails_is_reported_and_costs_nobody_else_a_turn() -> None:
    done: list[int] = []
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def work(number: int) -> None:
        if number == 1:
            raise ValueError
        done.append(number)

    deferred = Deferred(work, 8)
    for number in range(3):
        deferred.add(number)
    for _ in range(2):
        await asyncio.sleep(0)
    assert done == [0, 2]
    assert [type(one["exception"]) for one in reported] == [ValueError]
