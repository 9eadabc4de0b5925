# SPDX-License-Identifier: Apache-2.0
"""The key that handles are bound with: the same in every replica and worker, and after every restart."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE = b"shape-proxy handles v1"


def handle_key(secret: str) -> bytes:
    """A secret made into a key of this one purpose (HKDF, RFC 5869)."""
    return HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret.encode())
