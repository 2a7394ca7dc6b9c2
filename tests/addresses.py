"""Every address that a service answers, read off its own table of routes, so that no test forgets one."""

from typing import Any, NamedTuple

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
