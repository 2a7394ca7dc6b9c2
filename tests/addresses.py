"""Every address that a service answers, read off its own table of routes, so that no test forgets one."""

from typing import Any, NamedTuple

import httpx

from libs.common.http.csrf import PROTECTED_ACCESS


class Address(NamedTuple):
    """One method of one path, its parameters filled in; `is_form`: a page posts there."""

    method: str
    path: str
    is_form: bool


def addresses(app: Any, **parameters: str) -> list[Address]:
    """`parameters` by name; any other parameter is its own name."""
    found: set[Address] = set()
    for route in app.routes:
        parts: list[str] = [getattr(part, "name", part) for part in route.path_components]
        path = "/" + "/".join(parameters.get(part, part) for part in parts)
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]:
            opt, methods = handler.opt, getattr(handler, "http_methods", {"GET"})
            shown = opt.get("access") in PROTECTED_ACCESS and opt.get("csrf", True)
            found |= {Address(method, path, shown and method == "POST") for method in methods}
    for endpoint in getattr(app, "thin", ()):
        path = endpoint.path.format(**parameters)
        found |= {Address(method, path, False) for method in endpoint.methods}
    return sorted(found)


MOVED = {300, 301, 302, 305, 307, 308}


def lines_18_and_19_hold(one: Address, answer: httpx.Response, *, public: tuple[str, ...]) -> None:
    """303 and nothing else that moves; no cache, no referrer, no frame, no inline script, whatever the status.

    What begins with one of `public` says the same to everybody, and may be kept.
    """
    said, headers = (one, answer.request.method, answer.status_code), answer.headers
    assert answer.status_code not in MOVED, said
    assert headers["referrer-policy"] == "no-referrer", said
    policy = [part.strip().partition(" ") for part in headers["content-security-policy"].split(";")]
    allowed = {name: sources for name, _, sources in policy}
    assert allowed["frame-ancestors"] == "'none'" and allowed["default-src"] == "'none'", said
    assert not {name for name in allowed if name.startswith("script-src")}, said
    assert "unsafe" not in headers["content-security-policy"], said
    assert "<script" not in answer.text and " onclick=" not in answer.text, said
    if not one.path.startswith(public) and answer.status_code not in (204, 404, 405):
        assert "no-store" in headers.get("cache-control", ""), said


async def a_stranger_asks_everywhere(
    http: httpx.AsyncClient, *, public: tuple[str, ...], accepted: str, caisse: str
) -> set[int]:
    """Without a token, at each address of the application behind `http`, by a method that it lacks too: the statuses.

    Lines 18 and 19 hold at each.
    """
    transport: Any = http._transport  # pyright: ignore[reportPrivateUsage]
    statuses: set[int] = set()
    for one in addresses(transport.app, slug=caisse, caisse=caisse):
        for method, path in ((one.method, one.path), ("PATCH", one.path), ("GET", one.path + "/")):
            answer = await http.request(method, path, headers={"Accept": accepted})
            statuses.add(answer.status_code)
            lines_18_and_19_hold(one, answer, public=public)
    return statuses
