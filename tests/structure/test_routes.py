"""No route forgets to say who may call it."""

import importlib
from typing import Any

import pytest

from libs.common.runtime.settings import Settings
from tests.conftest import SERVICES

ANSWERS_OF_THE_FRAMEWORK = "litestar."


def handlers(app: Any) -> list[Any]:
    found: list[Any] = []
    for route in app.routes:
        found += getattr(route, "route_handlers", None) or [route.route_handler]
    return [handler for handler in found if not handler.fn.__module__.startswith(ANSWERS_OF_THE_FRAMEWORK)]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_route_says_who_may_call_it(settings: Settings, service: str) -> None:
    app = importlib.import_module(f"services.{service}.app").create_app(settings)

    assert len(handlers(app)) > 5
    assert [str(handler) for handler in handlers(app) if "access" not in handler.opt] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_every_route_has_a_docstring(settings: Settings, service: str) -> None:
    app = importlib.import_module(f"services.{service}.app").create_app(settings)

    assert [str(handler) for handler in handlers(app) if not (handler.fn.__doc__ or "").strip()] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_only_what_checks_its_caller_itself_is_thin(settings: Settings, service: str) -> None:
    """No guard stands before a thin endpoint: it may only be an OAuth endpoint, which lists its own checks."""
    app = importlib.import_module(f"services.{service}.app").create_app(settings)

    assert [one.path for one in app.thin if one.access != "protocol"] == []
    assert [one.path for one in app.thin if not (one.handle.__doc__ or "").strip()] == []
    assert bool(app.thin) == (service == "identity")
