# SPDX-License-Identifier: Apache-2.0
"""The two people of the demo: their tokens, as the app's own backend would mint them, and how they are signed out."""

import itertools
import time
from dataclasses import dataclass, field
from typing import IO

from proxy.auth import tokens
from proxy.auth.issuers import Issuer
from proxy.auth.keys import KeyRing

PAGE_SECONDS = 120
"""How long a token of the page lives: short, so that one can watch it being renewed."""

SESSIONS = {"ada": ("acc-ada", "s-ada"), "bob": ("acc-bob", "s-bob")}


class SignedOut(Exception):
    """Somebody without a session of the app asks for a token."""


@dataclass
class Person:
    """Somebody who uses the app: the account, the session that is open, and the ids of the tokens given out."""

    name: str
    account: str
    session: str
    signed_in: bool = True
    ids: list[str] = field(default_factory=list)


class People:
    """Mints tokens and revokes them. `revocations` is the file of PROXY_REVOCATIONS, open for writing."""

    def __init__(self, ring: KeyRing, issuer: Issuer, revocations: IO[bytes]) -> None:
        self._ring = ring
        self._issuer = issuer
        self._revocations = revocations
        self._numbers = itertools.count(1)
        self.all = {name: Person(name, *session) for name, session in SESSIONS.items()}

    def token(self, name: str, seconds: int = PAGE_SECONDS, *, age: int = 0) -> str:
        """A token of that many seconds, issued `age` seconds ago. Raises SignedOut."""
        person = self.all[name]
        if not person.signed_in:
            raise SignedOut
        person.ids.append(f"{name}-{next(self._numbers)}")
        claims = {"account_id": person.account, "session_id": person.session, "jti": person.ids[-1]}
        return tokens.mint(self._ring, self._issuer, person.account, claims, seconds, time.time() - age)

    def crowd_token(self) -> str:
        """A token for one more client of Ada's session, which lives on when hers are revoked."""
        account, session = SESSIONS["ada"]
        claims = {"account_id": account, "session_id": session}
        return tokens.mint(self._ring, self._issuer, account, claims, self._issuer.max_seconds)

    def revoke(self, name: str) -> None:
        """Signs somebody out: the tokens given out so far are revoked, and no new ones are minted."""
        person = self.all[name]
        person.signed_in = False
        self._revocations.seek(0, 2)
        self._revocations.write("".join(f"jti {one}\n" for one in person.ids).encode())
        self._revocations.flush()
        self._revocations.seek(0)
        person.ids.clear()

    def sign_in(self, name: str) -> None:
        """Lets somebody have tokens again: new ones, with other ids."""
        self.all[name].signed_in = True
