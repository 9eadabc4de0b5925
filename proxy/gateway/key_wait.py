# SPDX-License-Identifier: Apache-2.0
"""A request whose token names a key that is not known yet: it is held until the issuer's keys have been fetched again.

held ──fetched──▶ judged again, and not held a second time
  ├──not fetched, or KEY_SECONDS over──▶ refused (keys_unavailable)
  └──the client is gone──▶ forgotten
"""

from collections.abc import Callable
from typing import Final

from proxy.auth.authorizer import Authorizer
from proxy.auth.tokens import UnknownKey
from proxy.core.errors import Code, Refusal

KEY_SECONDS: Final = 20.0
"""How long a request is held: for the next fetch to be permitted, and for its answer."""


class KeyWait:
    """The wait of one request. `resume` judges it again, `refuse` answers it; neither is called after `end`."""

    __slots__ = ("_authorizer", "_refuse", "_resume", "_unknown", "held")

    def __init__(
        self,
        authorizer: Authorizer,
        unknown: UnknownKey,
        resume: Callable[[], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        """`held` is false if the issuer is known not to have the key. Raises Refusal if too many requests are held."""
        self._authorizer = authorizer
        self._unknown = unknown
        self._resume = resume
        self._refuse = refuse
        self.held = authorizer.await_key(unknown, self._fetched)

    def expire(self) -> None:
        """The key did not become known in time."""
        self.end()
        self._refuse(Refusal(Code.keys_unavailable))

    def end(self) -> None:
        """Nobody waits any more."""
        if self.held:
            self.held = False
            self._authorizer.leave_key(self._unknown, self._fetched)

    def _fetched(self, fetched: bool) -> None:
        self.held = False
        if fetched:
            self._resume()
        else:
            self._refuse(Refusal(Code.keys_unavailable))
