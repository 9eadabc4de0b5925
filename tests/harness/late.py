"""What asyncio lacks: a connection that was accepted just before its server was closed is forgotten, and stays open
until it is collected (python/cpython#109564, open). The proxy itself runs on uvloop, which closes it."""

from asyncio.selector_events import BaseSelectorEventLoop
from typing import Any


def close_what_comes_late() -> None:
    """From here on asyncio closes such a connection."""
    loop: Any = BaseSelectorEventLoop
    made = loop._make_socket_transport

    def made_or_closed(self: Any, sock: Any, *args: Any, server: Any = None, **options: Any) -> Any:
        if server is not None and server._sockets is None:
            sock.close()
            raise ConnectionAbortedError
        return made(self, sock, *args, server=server, **options)

    loop._make_socket_transport = made_or_closed
