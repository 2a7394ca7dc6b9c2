"""Refusals to HTTP, in one table (RFC 9457 problem details)."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from libs.common.database.transaction import DatabaseUnavailable, UnwritableText
from libs.common.refusals import DomainError, NotFound, Unavailable
from libs.common.values.sentence import Sentence

log = structlog.get_logger()

BASE = "urn:espace:problem:"


class Problem(NamedTuple):
    """How one refusal is told: status, stable slug, French title."""

    status: int
    slug: str
    title: str
    members: Mapping[str, Any] = {}
    """What this one refusal adds (RFC 9457 §3.2), for its page."""

    @property
    def sentence(self) -> Sentence:
        """The title, as a field's error says it."""
        return Sentence(self.title)


PROBLEMS: dict[type[DomainError], Problem] = {
    NotFound: Problem(404, "not-found", "Cette page n’existe pas."),
    Unavailable: Problem(503, "unavailable", "Service momentanément indisponible."),
    DatabaseUnavailable: Problem(503, "unavailable", "Service momentanément indisponible."),
    UnwritableText: Problem(
        400, "unwritable-text", "Votre saisie contient un caractère qui ne s'écrit pas. Retapez-la."
    ),
}
"""Each `DomainError` of ours has one line; features add theirs beside their routes."""

INTERNAL = Problem(500, "internal-error", "Une erreur est survenue de notre côté.")

REFUSED = "Demande refusée."

HTTP_TITLES: dict[int, str] = {
    400: "Demande incorrecte.",
    404: PROBLEMS[NotFound].title,
    405: "Cette page ne s’ouvre pas ainsi.",
    413: "Envoi trop volumineux.",
}
"""What the router itself refuses; `REFUSED` for any other."""

RETRY_AFTER: dict[int, int] = {429: 60, 503: 2}
"""Seconds to wait before another try (RFC 9110 §10.2.3, RFC 6585 §4)."""


def problem_for(error: DomainError) -> Problem:
    """The line of the nearest class in the error's ancestry."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return INTERNAL


def wants_html(request: Request[Any, Any, Any]) -> bool:
    """Whether a person in a browser asked, and so reads a page rather than JSON."""
    return "text/html" in request.headers.get("accept", "")


def retry_after(status: int) -> dict[str, str]:
    """The header of an answer that asks to wait; nothing for any other."""
    return {"Retry-After": str(RETRY_AFTER[status])} if status in RETRY_AFTER else {}


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
            **retry_after(problem.status),
            **(headers or {}),
        },
    )


def answer(request: Request[Any, Any, Any], problem: Problem, **members: Any) -> Response[Any]:
    """A page for a person, a problem for a program."""
    page = request.app.state.get("problem_page")
    if page is not None and wants_html(request):
        shown: Response[Any] = page(request, problem._replace(members=members))
        return shown
    return problem_response(problem, **members)


def on_domain_error(request: Request[Any, Any, Any], error: DomainError) -> Response[Any]:
    problem = problem_for(error)
    log.info("request.refused", reason=type(error).__name__, status=problem.status, path=request.url.path)
    members: dict[str, Any] = getattr(error, "members", {})
    return answer(request, problem, **members)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    title = HTTP_TITLES.get(error.status_code, REFUSED)
    problem = Problem(error.status_code, f"http-{error.status_code}", title)
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
