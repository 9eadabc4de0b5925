# SPDX-License-Identifier: Apache-2.0
"""Which request gets which answer."""

from collections.abc import AsyncGenerator
from urllib.parse import unquote_to_bytes

import orjson
import psycopg

from . import answers, query, request, snapshot
from .admission import Admission
from .answers import Answer, Inbound
from .connect import NotReady
from .definition import Resolved
from .log_answers import LogAnswers, array
from .offset import BEFORE_ALL
from .query import Values
from .request import Invalid, ShapeRequest, Subset
from .settings import StandInSettings
from .shape import Shape
from .stack import Stack
from .where import TrailingClause

HEALTH_CACHE = "no-cache, no-store, must-revalidate"


class Service:
    """Answers requests over one stack."""

    def __init__(self, stack: Stack, settings: StandInSettings) -> None:
        self._stack = stack
        self._settings = settings
        self.admission = Admission(settings)

    async def answer(self, inbound: Inbound) -> Answer:
        """The answer to any request. Paths are matched decoded and with slashes collapsed, as Electric does."""
        match segments(inbound.path), inbound.method:
            case [], "GET" | "HEAD":
                return Answer(
                    200, answers.heading(inbound, answers.PLUG_DEFAULT, methods=answers.OTHER_METHODS, kind=None), b""
                )
            case ["v1", "health"], "GET" | "HEAD":
                return self._health(inbound)
            case ["v1", "shape"], "OPTIONS":
                return answers.preflight(inbound)
            case ["v1", "shape"], "GET" | "HEAD" | "POST" | "DELETE":
                return await self._guarded(inbound)
            case _:
                return answers.not_found(inbound)

    def _health(self, inbound: Inbound) -> Answer:
        active = self._stack.replication.ready.is_set()
        headers = answers.heading(inbound, HEALTH_CACHE, methods=answers.OTHER_METHODS)
        return Answer(200 if active else 202, headers, orjson.dumps({"status": "active" if active else "starting"}))

    async def _guarded(self, inbound: Inbound) -> Answer:
        """The answer of the shape route; every error becomes its answer here."""
        try:
            return await self._checked(inbound)
        except query.NotText:
            return answers.plain_error(inbound, 400, "Invalid UTF-8")
        except query.BadBody as error:
            return answers.plain_error(inbound, 400, str(error))
        except Invalid as error:
            return answers.invalid(inbound, error.errors)
        except NotReady:
            body = {"message": "Timeout waiting for Postgres lock acquisition"}
            return answers.refusal(inbound, 503, body, [("retry-after", "5")])
        except (query.Undecodable, TrailingClause, psycopg.Error):
            return answers.plain_error(inbound, 500, "Internal server error")

    async def _checked(self, inbound: Inbound) -> Answer:
        """Check the secret, then answer."""
        values = query.parse_query(inbound.query)
        if not self._is_allowed(values):
            return answers.unauthorized(inbound)
        await self._stack.until_ready()
        if inbound.method == "DELETE":
            return await self._delete(inbound, values)
        async with self.admission.place(values) as admitted:
            return await self._admitted(inbound, values) if admitted else answers.too_many(inbound)

    async def _admitted(self, inbound: Inbound, values: Values) -> Answer:
        """Answer a request that has a place."""
        if inbound.method == "POST":
            values = query.merge_body(values, inbound.body)
        return await self._shape(inbound, request.parse(values))

    def _is_allowed(self, values: Values) -> bool:
        """Whether `secret`, or without one `api_secret`, is right."""
        return self._settings.secret is None or values.get("secret", values.get("api_secret")) == self._settings.secret

    async def _shape(self, inbound: Inbound, asked: ShapeRequest) -> Answer:
        resolved = await self._stack.resolve(asked.wanted)
        shape = self._named(asked, resolved)
        if shape is None:
            shape = await self._stack.shape(resolved.definition)
            if asked.offset not in (None, BEFORE_ALL):
                return answers.must_refetch(inbound, shape.handle)
        if asked.subset is not None:
            return await self._subset(inbound, asked, shape, resolved, asked.subset)
        return await LogAnswers(self._stack, self._settings, inbound, asked, shape).answer()

    def _named(self, asked: ShapeRequest, resolved: Resolved) -> Shape | None:
        """The shape of the handle, if its hash is that of the wanted definition; the definitions themselves are not
        compared. `-1` and `now` take no handle."""
        if asked.handle is None or asked.offset in (None, BEFORE_ALL):
            return None
        shape = self._stack.by_handle(asked.handle)
        bits = self._settings.hash_bits
        return shape if shape and shape.definition.number(bits) == resolved.definition.number(bits) else None

    async def _subset(
        self, inbound: Inbound, asked: ShapeRequest, shape: Shape, resolved: Resolved, wanted: Subset
    ) -> Answer:
        metadata, rows = await self._stack.work(lambda connection: snapshot.subset(connection, resolved, wanted))
        headers = answers.heading(inbound, "no-cache")
        headers += [("electric-snapshot", "true"), ("electric-handle", shape.handle)]
        if not asked.live:
            definition = resolved.definition
            headers.append(("electric-schema", definition.table.schema_header(definition.selected)))
        headers.append(("electric-offset", str(shape.last)))
        return Answer(200, headers, subset_body(orjson.dumps(metadata), rows))

    async def _delete(self, inbound: Inbound, values: Values) -> Answer:
        """Remove the shape of a handle, whoever's it is, or of a definition."""
        if not self._settings.allow_delete:
            return answers.refusal(inbound, 405, {"message": "DELETE not allowed"})
        handle = values.get("handle")
        if handle is None:
            resolved = await self._stack.resolve(request.parse(values | {"offset": "-1"}).wanted)
            shape: Shape | None = await self._stack.shape(resolved.definition)
        else:
            shape = self._stack.by_handle(str(handle))
        if shape is None:
            return answers.refusal(inbound, 404, {"message": "Shape not found"})
        self._stack.remove(shape)
        return Answer(202, answers.heading(inbound, "no-cache"), b"")


def segments(path: bytes) -> list[str]:
    """The parts of a path, percent-decoded, empty ones left out."""
    return [unquote_to_bytes(part).decode(errors="replace") for part in path.split(b"/") if part]


async def subset_body(metadata: bytes, rows: list[bytes]) -> AsyncGenerator[bytes, None]:
    """The object of a subset, in the pieces that Electric writes."""
    yield b'{"metadata":'
    yield metadata
    yield b', "data": '
    async for piece in array(rows):
        yield piece
    yield b"}"
