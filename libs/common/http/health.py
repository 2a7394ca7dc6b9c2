"""Is it alive, is it ready, and how does it do: three addresses on every service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], Awaitable[bool]]
"""True when the thing is fit to serve; raising or taking over a second counts as unfit."""


@get("/health/live", access="internal", include_in_schema=False)
async def live() -> dict[str, str]:
    """The process runs its loop."""
    return {"status": "alive"}


@get("/health/ready", access="internal", include_in_schema=False)
async def ready(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Whether requests may be sent here, check by check."""
    checks: dict[str, Check] = request.app.state.readiness
    results = dict(
        zip(checks, await asyncio.gather(*(_holds(check) for check in checks.values())), strict=True)
    )
    fit = all(results.values())
    body = {"status": "ready" if fit else "not ready", "checks": results}
    return Response(body, status_code=200 if fit else 503, headers={"Cache-Control": "no-store"})


@get("/metrics", access="internal", include_in_schema=False)
async def metrics() -> Response[bytes]:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _holds(check: Check) -> bool:
    try:
        async with asyncio.timeout(1):
            return await check()
    except Exception:
        return False
