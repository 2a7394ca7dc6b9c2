"""What an API's document (OpenAPI 3.1) says of its refusals and of its tokens, the same for every route."""

from typing import Annotated, Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import SecurityScheme
from litestar.params import HeaderParameter
from msgspec import UNSET, Struct, UnsetType

DPOP = "DPoP"
"""The security scheme's name; a route names it with the rights it asks for."""

DPOP_SCHEME = SecurityScheme(
    type="http",
    scheme="DPoP",
    bearer_format="at+jwt",
    description=(
        "A DPoP-bound access token of this issuer (client credentials, audience = the issuer), in "
        "`Authorization: DPoP …`, with a fresh proof in the header `DPoP` for each request (RFC 9449). "
        "A 401 that carries `DPoP-Nonce` asks for the same request once more, its proof holding that nonce."
    ),
)

IdempotencyKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=16,
        max_length=128,
        pattern="^[A-Za-z0-9._~-]{16,128}$",
        description="Drawn by the caller for one command: sent again within a day, it is answered again.",
    ),
]


class FaultyField(Struct):
    """One field of the request, and what is wrong with it; never the value sent."""

    field: str
    message: str


class ProblemDocument(Struct):
    """RFC 9457, `application/problem+json`. `title` is French, for people; programs read `type`."""

    type: str
    title: str
    status: int
    detail: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    errors: list[FaultyField] | UnsetType = UNSET


SENTENCES = {
    400: "The request is malformed: its body, a parameter or its headers.",
    401: "No usable token or proof; `WWW-Authenticate` says what to bring.",
    403: "The token does not give this right.",
    404: "There is no such thing in this caisse: unknown and foreign are one answer.",
    408: "The body was too slow to arrive.",
    409: "It is in the way of something that is already there.",
    413: "The body is larger than 64 KB.",
    422: "The request is well-formed and breaks a rule; `detail` says which.",
    503: "Something we depend on does not answer; nothing was refused. `Retry-After` is set.",
}

EVERYWHERE = (400, 401, 403, 404, 503)


def refusals(*more: int, body: bool = False) -> dict[int, ResponseSpec]:
    """The refusals of a route that asks for a token, of one that reads a `body`, and `more` of its own."""
    return {
        status: ResponseSpec(
            ProblemDocument,
            generate_examples=False,
            description=SENTENCES[status],
            media_type="application/problem+json",
        )
        for status in sorted({*EVERYWHERE, *((408, 413) if body else ()), *more})
    }


def needs(scope: str) -> list[dict[str, Any]]:
    """The security requirement of a route: our scheme, and the right."""
    return [{DPOP: [scope]}]
