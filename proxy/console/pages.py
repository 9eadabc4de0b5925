# SPDX-License-Identifier: Apache-2.0
"""Files of a page from a package, and the headers that every page of ours has. There is no build step: what is in the
folder is what the browser gets."""

from collections.abc import Mapping
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
SHARED: Final = "proxy.console"


def policy(connect: str = "") -> str:
    """The Content-Security-Policy: scripts and styles from here alone, none of them inline. `connect` names another
    origin that scripts may ask."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self' {connect}".rstrip(),
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def headers(connect: str = "") -> dict[str, str]:
    """The headers of every response of a page's server."""
    return {
        "content-security-policy": policy(connect),
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


class Files:
    """The files of some packages' folders `page`, by their names; of two files of one name the later package's."""

    def __init__(self, *packages: str, connect: str = "") -> None:
        self.headers = headers(connect)
        self._files: Mapping[str, tuple[bytes, str]] = {
            file.name: (file.read_bytes(), _MEDIA_TYPES[file.name[file.name.rindex(".") :]])
            for package in packages
            for file in resources.files(package).joinpath("page").iterdir()
        }

    def response(self, name: str, status: int = 200) -> Response:
        """A file, or 404."""
        if name not in self._files:
            return Response("There is no such file.\n", 404, self.headers, "text/plain")
        content, media_type = self._files[name]
        return Response(content, status, self.headers, media_type)

    async def serve(self, request: Request) -> Response:
        """The file that the path names; pages themselves have routes of their own."""
        name = request.path_params["name"]
        return self.response(name if not name.endswith(".html") else "")
