"""The pages that exist, read off the routes of the services, so that none is forgotten."""

import re
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from libs.common.runtime.settings import load_settings

SERVICES = ("portal", "identity", "documents")

NOT_PAGES = {
    "portal": {
        "/static/{name:str}",
        "/{caisse:str}/sign-in",
        "/{caisse:str}/callback",
        "/{caisse:str}/attestations/{attestation:str}/file",
        "/{caisse:str}/clients/{mandate:str}/attestations/{attestation:str}/file",
    },
    "identity": {
        "/static/{name:str}",
        "/api/caisses",
        "/api/clock",
        "/{slug:str}/client-logos/{name:str}",
        "/{slug:str}/admin/openapi.json",
        "/{slug:str}/delegations/{mandate:str}/accept",
    },
    "documents": {
        "/static/{name:str}",
        "/.well-known/oauth-protected-resource/{slug:str}",
        "/{caisse:str}/seals/authority.cer",
        "/{caisse:str}/seals/authority.crl",
    },
}
"""Files, images, JSON, and addresses that only lead elsewhere."""


def unmet(ready: dict[str, Any], seen: set[str]) -> list[str]:
    """The pages that no address of `seen` belongs to, as `service path`."""
    settings = load_settings({"ESPACE_CONFIG": ready["config"]})
    missing: list[str] = []
    for service in SERVICES:
        paths = {
            urlsplit(address).path
            for address in seen
            if address == ready[service] or address.startswith((f"{ready[service]}/", f"{ready[service]}?"))
        }
        app = import_module(f"services.{service}.app").create_app(settings)
        patterns = {
            route.path
            for route in app.routes
            for handler in getattr(route, "route_handlers", [])
            if "GET" in handler.http_methods and handler.opt.get("access") in ("anyone", "session")
        }
        missing += [
            f"{service} {pattern}"
            for pattern in sorted(patterns - NOT_PAGES[service])
            if not any(_is_of(path, pattern) for path in paths)
        ]
    return missing


def _is_of(path: str, pattern: str) -> bool:
    """Whether the path is an address of the pattern and of none of its fixed sisters."""
    parts = pattern.strip("/").split("/")
    given = path.strip("/").split("/")
    return len(parts) == len(given) and all(_fits(part, one) for part, one in zip(parts, given, strict=True))


def _fits(part: str, given: str) -> bool:
    if not part.startswith("{"):
        return part == given
    name = part[1:].partition(":")[0]
    prefix = {"mandate": "mdt_", "attestation": "att_", "draft": "drf_", "gesture": "gst_"}.get(name, "")
    return bool(re.fullmatch(re.escape(prefix) + ".+", given))
