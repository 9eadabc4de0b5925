# SPDX-License-Identifier: Apache-2.0
"""What is on this machine: open files, keys, the handle key."""

import asyncio
import stat
import time
from collections.abc import Iterator, Set
from pathlib import Path

from proxy.auth import jwks
from proxy.auth.compact import ALGORITHMS
from proxy.auth.issuers import Issuer
from proxy.auth.keys import Key, KeyRing, KeysFault
from proxy.doctor.findings import Finding, error, ok, warning

OLD_DAYS = 365
FEW_CONNECTIONS = 1024
FEW_BYTES = 12
"""A random key of 32 bytes has fewer distinct ones never."""

_ROTATE = "add a new key, sign with it, and take the old one away once its tokens are over"


def files_finding(connections: int, fault: str) -> Finding:
    """How many clients the limit of open files leaves room for; `fault` is why the settings do not fit in it."""
    check = "open_files"
    if fault:
        return error(check, fault, "raise the limit (LimitNOFILE, ulimit -n), or lower PROXY_MAX_CONNECTIONS")
    message = f"the limit of open files leaves room for {connections} clients"
    if connections < FEW_CONNECTIONS:
        return warning(check, message, "raise the limit: LimitNOFILE=1048576 for systemd, ulimits for containers")
    return ok(check, message)


def handle_key_finding(*, fault: str, guessable: bool) -> Finding:
    """Whether there is a key for handles, of use."""
    check = "handle_key"
    if fault:
        return error(check, fault, "set PROXY_HANDLE_KEY to 32 random characters or more")
    if guessable:
        message = "handles are bound by a short ELECTRIC_SECRET, which clients could guess"
        return warning(check, message, "set PROXY_HANDLE_KEY to 32 random characters or more, the same everywhere")
    return ok(check, "handles are bound by a long key")


def key_findings(
    path: Path, algorithms: Set[str] = frozenset(ALGORITHMS), now: float | None = None
) -> Iterator[Finding]:
    """Whether the keys of a file can be used for these algorithms, are old, weak, or readable by others."""
    check = "token_keys"
    try:
        ring = KeyRing.read(path, algorithms)
        status = path.stat()
    except (KeysFault, OSError) as fault:
        yield error(check, str(fault), "put at least one key that verifies tokens into the file")
        return
    yield ok(check, f"{path}: {len(ring.verifying)} keys verify tokens")
    yield from (
        warning(check, f"{path}: not used: {line}", "none if it is for another purpose") for line in ring.skipped
    )
    if any(_is_weak(key) for key in ring.keys):
        yield error(check, f"{path}: a shared key is no random one", "make a new one: 32 random bytes")
    if status.st_mode & (stat.S_IRGRP | stat.S_IROTH) and any(_is_secret(key) for key in ring.keys):
        yield warning(check, f"{path} holds secret keys and others may read it", f"chmod 600 {path}")
    days = ((time.time() if now is None else now) - status.st_mtime) / 86_400
    if days > OLD_DAYS:
        yield warning(check, f"{path} is {days:.0f} days old", _ROTATE)


def address_findings(issuer: Issuer) -> Iterator[Finding]:
    """Whether the keys of an issuer can be fetched from its address, and used, as `serve` does it."""
    check = "token_keys"
    try:
        ring = asyncio.run(jwks.fetch(issuer)).ring
    except jwks.FetchFault as fault:
        action = "correct the address, or open the way to it: without keys no token of the issuer is believed"
        yield error(check, f"{issuer.name}: {issuer.keys}: {fault}", action)
        return
    yield ok(check, f"{issuer.name}: {len(ring.verifying)} keys at {issuer.keys} verify tokens")
    for line in ring.skipped:
        yield warning(check, f"{issuer.name}: not used: {line}", "none if it is for another purpose")


def _is_secret(key: Key) -> bool:
    return isinstance(key.own, bytes) or (key.own is not key.public and hasattr(key.own, "private_bytes"))


def _is_weak(key: Key) -> bool:
    return isinstance(key.own, bytes) and len(set(key.own)) < FEW_BYTES
