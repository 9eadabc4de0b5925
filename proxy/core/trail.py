"""How far a request came on its way through the rules: what the log of decisions tells of it."""

from dataclasses import dataclass

from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape
from proxy.core.request import ShapeRequest


@dataclass(slots=True)
class Trail:
    """What is None was not reached."""

    claims: Claims | None = None
    body: bytes | None = None
    request: ShapeRequest | None = None
    shape: AuthorizedShape | None = None
