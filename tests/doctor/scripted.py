"""An HTTP server that answers as a function says, on a real socket."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

SECRET = "s3cr3t/+&="
ACTIVE = b'{"status":"active"}'


@dataclass(frozen=True)
class Asked:
    """A request: the path as it was sent, the query decoded, header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Told:
    """An answer; without a `date` of its own it has the present."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    dies: bool = False


Script = Callable[[Asked], Told]


def electric(asked: Asked, secret: str = SECRET) -> Told:
    """A healthy Electric, as far as the checks ask it."""
    server = {"electric-server": "ElectricSQL/1.7.12"}
    if asked.path == "/v1/health":
        return Told(200, ACTIVE, server)
    if asked.query.get("secret") != secret:
        return Told(401, b'{"message":"Unauthorized - Invalid API secret"}', server)
    return Told(405 if asked.method == "DELETE" else 400, b'{"errors":{}}', server)


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """The address of a server that answers by a script."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            told = script(Asked(self.command, path, dict(parse_qsl(query)), headers))
            if told.dies:
                self.close_connection = True
                return
            fields = dict(told.headers or {})
            self.send_response_only(told.status)
            if "date" not in fields:
                fields["date"] = self.date_time_string()
            for name, value in fields.items():
                if value:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        do_GET = do_OPTIONS = do_DELETE = do_POST = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
