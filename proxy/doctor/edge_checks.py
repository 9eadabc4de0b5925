# SPDX-License-Identifier: Apache-2.0
"""The way that clients come: CORS as a browser sees it, and a first event that nothing on the way holds back."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from proxy.core.headers import Headers, Origins
from proxy.doctor.asking import Asker, NoAnswerError
from proxy.doctor.findings import Finding, error, ok, warning

WANTED = ("authorization", "content-type")
"""What Electric's client sends that a browser asks about first."""

EXPOSED = ("electric-handle", "electric-offset", "electric-schema", "electric-up-to-date")
_EDGE = "let the proxy answer OPTIONS and send CORS headers; nothing before it may answer, remove or add any"
MOST_ANSWERS = 20


@dataclass(frozen=True, slots=True)
class Pages:
    """The origins whose pages may read answers, and the headers that they may send beside our own."""

    origins: tuple[str, ...]
    headers: tuple[str, ...] = ()


def cors_findings(pages: Pages, edge: Asker | None) -> Iterator[Finding]:
    """A preflight from each allowed origin and one from another, sent through `edge`, or without one judged here."""
    if not pages.origins:
        yield ok("cors", "no web page may read answers: PROXY_ALLOWED_ORIGINS is empty")
        return
    where = "in this process: no proxy answers on PROXY_LISTEN" if edge is None else f"by {edge.url}"
    for origin in pages.origins:
        yield _permitted("https://any.example" if origin == "*" else origin, pages, edge, where)
    if "*" in pages.origins:
        yield warning("cors", "pages of every origin may read answers", "name the origins in PROXY_ALLOWED_ORIGINS")
    else:
        yield _refused(pages, edge, where)


def _permitted(origin: str, pages: Pages, edge: Asker | None, where: str) -> Finding:
    try:
        asked, read = _preflight(origin, pages, edge), _answer(origin, pages, edge)
    except NoAnswerError as fault:
        return error("cors", f"{origin}: no answer {where} ({fault})", _EDGE)
    wanted, allowed = (*WANTED, *pages.headers), _words(asked, "access-control-allow-headers")
    lacking = [name for name in wanted if name not in allowed]
    lacking += [name for name in EXPOSED if name not in _words(read, "access-control-expose-headers")]
    if any(answer.get("access-control-allow-origin") not in (origin, "*") for answer in (asked, read)):
        return error("cors", f"{origin}: its pages may not read answers, {where}", _EDGE)
    if lacking:
        return error("cors", f"{origin}: {', '.join(lacking)} not permitted, {where}", _EDGE)
    return ok("cors", f"{origin}: its pages may ask and read, {where}")


def _refused(pages: Pages, edge: Asker | None, where: str) -> Finding:
    """An origin that is not allowed must not be: something on the way may allow all."""
    other = "https://not-allowed.invalid"
    try:
        allowed = _preflight(other, pages, edge).get("access-control-allow-origin")
    except NoAnswerError as fault:
        return error("cors", f"{other}: no answer {where} ({fault})", _EDGE)
    if allowed is not None:
        return error("cors", f"pages of any origin are permitted, {where}", _EDGE)
    return ok("cors", f"pages of other origins are not permitted, {where}")


def _preflight(origin: str, pages: Pages, edge: Asker | None) -> Mapping[str, str]:
    if edge is None:
        return _texts(_of(pages).preflight(origin.encode()))
    asked = {
        "origin": origin,
        "access-control-request-method": "GET",
        "access-control-request-headers": ",".join(sorted((*WANTED, *pages.headers))),
    }
    return edge.ask("/v1/shape", method="OPTIONS", headers=asked).headers


def _answer(origin: str, pages: Pages, edge: Asker | None) -> Mapping[str, str]:
    """The fields of an answer itself. It is a refusal, for want of a token: pages must be able to read those too."""
    if edge is None:
        return _texts(_of(pages).cors(origin.encode()))
    return edge.ask("/v1/shape", headers={"origin": origin}).headers


def _of(pages: Pages) -> Origins:
    return Origins.of(pages.origins, pages.headers)


def _texts(fields: Headers) -> Mapping[str, str]:
    return {name.decode(): value.decode() for name, value in fields}


def _words(answered: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in answered.get(name, "").split(","))


def first_event_finding(edge: Asker, token: str, names: Iterable[str], seconds: float) -> Finding:
    """Whether the first bytes of a stream arrive in time: Electric sends some every 21 s, an edge may hold them."""
    check = "first_event"
    bearer = {"authorization": f"Bearer {token}"}
    try:
        for name in names:
            place = _place(edge, f"/v1/shapes/{name}", bearer)
            if place is not None:
                query = place | {"live": "true", "live_sse": "true"}
                return _streamed(*edge.first_piece(f"/v1/shapes/{name}", query, bearer))
    except NoAnswerError as fault:
        if str(fault) != "ReadTimeout":
            return error(check, f"no stream through {edge.url} ({fault})", "open the way to the proxy")
        message = f"no byte of a stream came through {edge.url} within {seconds:g} s: something holds it back"
        return error(check, message, "turn buffering and compression off (X-Accel-Buffering, proxy_buffering off)")
    return warning(check, "the token may read no shape, so no stream was tried", "give --token one that may")


def _streamed(status: int, piece: bytes) -> Finding:
    if status == 200 and piece:
        return ok("first_event", "the first bytes of a stream came in time")
    message = f"a stream was answered {status} {'with' if piece else 'without'} a body"
    return error("first_event", message, "look the refusal's code up in docs/how-to/troubleshooting.md")


def _place(edge: Asker, path: str, bearer: Mapping[str, str]) -> dict[str, str] | None:
    """Where a shape ends now, None if the token may not read it."""
    query = {"offset": "now"}
    for _ in range(MOST_ANSWERS):
        answer = edge.ask(path, query=query, headers=bearer)
        if answer.status != 200 or "electric-handle" not in answer.headers:
            return None
        query = {"offset": answer.headers["electric-offset"], "handle": answer.headers["electric-handle"]}
        if "electric-up-to-date" in answer.headers:
            return query
    return None
