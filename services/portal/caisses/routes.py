"""The caisses' entry, and the pages every caisse owes its visitors."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from libs.common.values.caisse_slug import parse_caisse_slug
from services.portal.portal import Portal

INFORMATION = ("help", "accessibility", "legal", "privacy")


@get("/", access="anyone")
async def entry(request: Request[Any, Any, Any], portal: NamedDependency[Portal]) -> Response[Any]:
    """Which caisse is yours?"""
    return portal.pages.render("caisses/entry.html", request, caisses=await portal.brands.every())


@get([f"/{{caisse:str}}/{page}" for page in INFORMATION], access="anyone")
async def information(
    request: Request[Any, Any, Any], caisse: FromPath[str], portal: NamedDependency[Portal]
) -> Response[Any]:
    """Help, accessibility, legal notice, privacy. `-` stands for no caisse in particular."""
    page = request.url.path.rsplit("/", 1)[-1]
    brand = None if caisse == "-" else await portal.brands.of(parse_caisse_slug(caisse))
    return portal.pages.render(
        f"caisses/{page}.html", request, brand=brand, verification=portal.verification_base
    )


caisse_routes = [entry, information]
