"""Refusals to HTTP, in one table (RFC 9457 problem details)."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from libs.common.database.transaction import DatabaseUnavailable, UnwritableText
from libs.common.refusals import DomainError, NotFound, Unavailable

log = structlog.get_logger()

BASE = "urn:espace:problem:"


class Problem(NamedTuple):
    """How one refusal is told: status, stable slug, French title."""

    status: int
    slug: str
    title: str
    members: Mapping[str, Any] = {}
    """What this one refusal adds (RFC 9457 §3.2), for its page."""


PROBLEMS: dict[type[DomainError], Problem] = {
    NotFound: Problem(404, "not-found", "Cette page ou cette ressource n'existe pas."),
    Unavailable: Problem(
        503, "unavailable", "Le service est momentanément indisponible. Réessayez dans un instant."
    ),
    DatabaseUnavailable: Problem(
        503, "unavailable", "Le service est momentanément indisponible. Réessayez dans un instant."
    ),
    UnwritableText: Problem(
        400, "unwritable-text", "Votre saisie contient un caractère qui ne s'écrit pas. Retapez-la."
    ),
}
"""Each `DomainError` of ours has one line; features add theirs beside their routes."""

INTERNAL = Problem(500, "internal-error", "Une erreur est survenue de notre côté. Elle est enregistrée.")


def problem_for(error: DomainError) -> Problem:
    """The line of the nearest class in the error's ancestry."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return INTERNAL


def wants_html(request: Request[Any, Any, Any]) -> bool:
    """Whether a person in a browser asked, and so reads a page rather than JSON."""
    return "text/html" in request.headers.get("accept", "")


def problem_response(
    problem: Problem, *, detail: str | None = None, headers: dict[str, str] | None = None, **members: Any
) -> Response[Any]:
    """`application/problem+json` with extension members (RFC 9457 §3.2)."""
    body: dict[str, Any] = {"type": BASE + problem.slug, "title": problem.title, "status": problem.status}
    if detail is not None:
        body["detail"] = detail
    return Response(
        {**body, **members},
        status_code=problem.status,
        media_type="application/problem+json",
        headers={
            "Cache-Control": "no-store",
            **({"Retry-After": "2"} if problem.status == 503 else {}),
            **(headers or {}),
        },
    )


def answer(request: Request[Any, Any, Any], problem: Problem, **members: Any) -> Response[Any]:
    """A page for a person, a problem for a program."""
    page = request.app.state.get("problem_page")
    if page is not None and wants_html(request):
        response: Response[Any] = page(request, problem._replace(members=members))
        if problem.status == 503:
            response.headers["Retry-After"] = "2"
        return response
    return problem_response(problem, **members)


def on_domain_error(request: Request[Any, Any, Any], error: DomainError) -> Response[Any]:
    problem = problem_for(error)
    log.info("request.refused", reason=type(error).__name__, status=problem.status, path=request.url.path)
    members: dict[str, Any] = getattr(error, "members", {})
    return answer(request, problem, **members)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    titles = {
        400: "La demande est incorrecte.",
        404: PROBLEMS[NotFound].title,
        405: "Cette adresse ne se lit pas ainsi.",
        413: "L'envoi est trop volumineux.",
    }
    problem = Problem(
        error.status_code, f"http-{error.status_code}", titles.get(error.status_code, "Demande refusée.")
    )
    members: dict[str, Any] = {}
    if error.status_code == 405 and error.headers:
        # RFC 9110 §15.5.6: the refusal says what the address does take.
        members["headers"] = dict(error.headers)
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        # Name the field and what is wrong with it, never the value sent.
        faults = [cast(dict[str, object], item) for item in error.extra if isinstance(item, dict)]
        members["errors"] = [
            {"field": str(fault.get("key", "")), "message": str(fault.get("message", ""))} for fault in faults
        ]
    if error.status_code >= 500:
        log.exception("request.failed", path=request.url.path, exc_info=error)
    return answer(request, problem, **members)


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Any other exception is our bug."""
    log.exception("request.failed", path=request.url.path, exc_info=error)
    return answer(request, INTERNAL)
