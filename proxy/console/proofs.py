# SPDX-License-Identifier: Apache-2.0
"""What the prover finds out about the policies in force, for the console.

    not asked for ──of──▶ running ──its end──▶ found
                             └── time over, or a fault ──▶ not known, and why

The prover needs a solver, a large library that is an extra. So it runs in a process of its own: at a lower priority,
once for the policies of each reload and only if they are looked at, and it is killed when its time is over. It gets
the very policies that are in force, and nothing of the environment.
"""

import asyncio
import contextlib
import json
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final

from proxy.auth.policy_loader import LoadedPolicies

WALL_SECONDS: Final = 60.0
"""How long the console waits for the prover, whose own limit is on CPU time."""

RUNNING: Final = "the prover runs"
NO_PROVER: Final = "the prover is not installed: pip install 'shape-proxy[prove]'"

Proof = Mapping[str, str]
"""A `verdict` and `why`."""


class NotProved(Exception):
    """Nothing is known of the policies; the text says why."""


def prover_is_installed() -> bool:
    """Whether the prover could run, without importing it."""
    return find_spec("z3") is not None


class Proofs:
    """The proofs of the policies in force. `of` gives what is known; `run` finds it out."""

    def __init__(self, seconds: float = WALL_SECONDS, installed: Callable[[], bool] = prover_is_installed) -> None:
        self._seconds = seconds
        self._installed = installed
        self._loaded: LoadedPolicies | None = None
        self._asked = asyncio.Event()
        self._known: Mapping[str, Proof] = {}

    def of(self, loaded: LoadedPolicies) -> Mapping[str, Proof]:
        """What is known of each policy; the same object until more is."""
        if loaded is not self._loaded:
            self._loaded = loaded
            self._known = _unknown(loaded, RUNNING)
            self._asked.set()
        return self._known

    async def run(self) -> None:
        """Proves what is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            loaded = self._loaded
            if loaded is None:
                continue
            try:
                known = await self._proved(loaded)
            except NotProved as reason:
                known = _unknown(loaded, str(reason))
            if loaded is self._loaded:
                self._known = known

    async def _proved(self, loaded: LoadedPolicies) -> Mapping[str, Proof]:
        if not self._installed():
            raise NotProved(NO_PROVER)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "proxy.proof",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            async with asyncio.timeout(self._seconds):
                printed, _ = await process.communicate(pickle.dumps(loaded.policies))
        except TimeoutError:
            raise NotProved(f"the prover did not end within {self._seconds:g} s") from None
        finally:
            await _ended(process)
        if process.returncode != 0:
            raise NotProved("the prover failed: run shape-proxy prove")
        found = json.loads(printed)["policies"]
        return {one["policy"]: {"verdict": one["verdict"], "why": one["why"]} for one in found}


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ends the process if it has not, and waits for it and its pipes, so that neither outlives the one who asked."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def _unknown(loaded: LoadedPolicies, why: str) -> Mapping[str, Proof]:
    return {name: {"verdict": "not known", "why": why} for name in loaded.policies.by_name}
