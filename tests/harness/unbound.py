"""Handles as they were before the proxy bound them: what a client sends goes on as it is."""


class Unbound:
    """The binding taken out, to show what it is for."""

    def sign(self, definition: str, handle: str) -> str:  # noqa: ARG002
        """Electric's handle."""
        return handle

    def verify(self, definition: str, given: str) -> str | None:  # noqa: ARG002
        """Whatever a client says."""
        return given
