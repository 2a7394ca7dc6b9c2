"""Attestations, asked for, listed and downloaded by the firm or by a cabinet it mandated."""

import re
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from libs.common.access.access_token import AccessToken
from libs.common.access.guard import Scopes
from libs.common.database import journal
from libs.common.http.application import Clock
from libs.common.http.problems import PROBLEMS, Problem
from libs.common.pages.formats import groups
from libs.common.refusals import DomainError, NotFound
from libs.common.values.identifiers import parse_public_id, public_id
from services.documents.attestations import store
from services.documents.attestations.eligibility import Eligibility, EligibilityUnavailable, NotUpToDate
from services.documents.attestations.files import FilesUnavailable
from services.documents.attestations.issue import (
    Issued,
    RequestKeyReused,
    Workshop,
    actor_of,
    issue_attestation,
    opened,
    sealed_file,
    software_of,
)
from services.documents.attestations.permission import (
    READ,
    REQUEST,
    AdherentId,
    AttestationId,
    acted_by,
    may_read_attestations,
    may_request_attestation,
)
from services.documents.attestations.press import PressBusy
from services.documents.attestations.withdraw import NotWithdrawable

LIST_LIMIT = 100
REQUEST_KEY = re.compile(r"[\x21-\x7e]{8,128}")


class RequestKeyMissing(DomainError):
    """Without its own key, a request repeated after a lost answer could not be recognised."""


PROBLEMS[NotUpToDate] = Problem(
    409, "not-up-to-date", "L'entreprise n'est pas à jour : l'attestation est refusée."
)
PROBLEMS[EligibilityUnavailable] = Problem(
    503,
    "unavailable",
    "La situation de l'entreprise ne peut pas être lue en ce moment. Ce n'est pas un refus : réessayez.",
)
PROBLEMS[PressBusy] = Problem(
    503, "unavailable", "Trop d'attestations sont en cours. Réessayez dans un instant."
)
PROBLEMS[FilesUnavailable] = Problem(503, "unavailable", "Les fichiers ne sont pas accessibles. Réessayez.")
PROBLEMS[RequestKeyReused] = Problem(
    422, "request-key-reused", "Cette clé de demande a déjà servi pour une attestation d'un autre type."
)
PROBLEMS[RequestKeyMissing] = Problem(
    400, "request-key-missing", "L'en-tête Idempotency-Key doit porter une clé de 8 à 128 caractères."
)
PROBLEMS[NotWithdrawable] = Problem(
    409, "not-withdrawable", "Cette attestation est déjà retirée ou remplacée."
)


class AttestationAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for: the only kind issued so far says that the firm is up to date."""

    kind: Annotated[Literal["up_to_date"], msgspec.Meta(description="Nature de l'attestation")] = "up_to_date"


async def provide_adherent_id(adherent: FromPath[str]) -> AdherentId:
    """The dependency `adherent_id`. Raises `InvalidPublicId`, which answers like an unknown firm."""
    return AdherentId(parse_public_id("adh", adherent))


async def provide_attestation_id(attestation: FromPath[str]) -> AttestationId:
    """The dependency `attestation_id`. Raises `InvalidPublicId`, which answers like an unknown attestation."""
    return AttestationId(parse_public_id("att", attestation))


@post(
    "/{caisse:str}/adherents/{adherent:str}/attestations",
    access=Scopes(REQUEST, services=False),
    status_code=201,
)
async def request_attestation(
    request: Request[Any, Any, Any],
    data: JSONBody[AttestationAsked],
    adherent_id: NamedDependency[AdherentId],
    token: NamedDependency[AccessToken],
    shop: NamedDependency[Workshop],
    eligibility: NamedDependency[Eligibility],
    clock: NamedDependency[Clock],
) -> dict[str, Any]:
    """The firm, or its cabinet, pressed "Demander une attestation"."""
    by = may_request_attestation(token, adherent_id)
    key = request.headers.get("idempotency-key", "")
    if not REQUEST_KEY.fullmatch(key):
        raise RequestKeyMissing
    issued = await issue_attestation(shop, eligibility, by, kind=data.kind, request_key=key, now=clock())
    return _as_told(shop, issued)


@get("/{caisse:str}/adherents/{adherent:str}/attestations", access=Scopes(READ, services=False))
async def list_attestations(
    adherent_id: NamedDependency[AdherentId],
    token: NamedDependency[AccessToken],
    shop: NamedDependency[Workshop],
) -> dict[str, Any]:
    """The last hundred, newest first, with their state now."""
    by = may_read_attestations(token, adherent_id)
    async with shop.db.transaction(by.caisse) as tx:
        rows = await store.of_adherent(tx, by.adherent_id, LIST_LIMIT)
    return {"attestations": [_as_told(shop, opened(shop.keys, by.caisse, row)) for row in rows]}


@get("/{caisse:str}/attestations/{attestation:str}/file", access=Scopes(READ, services=False))
async def attestation_file(
    attestation_id: NamedDependency[AttestationId],
    token: NamedDependency[AccessToken],
    shop: NamedDependency[Workshop],
    clock: NamedDependency[Clock],
) -> Response[bytes]:
    """The sealed PDF, exactly as it was sealed. Another firm's answers like an unknown one."""
    async with shop.db.transaction(token.caisse) as tx:
        row = await store.find(tx, attestation_id)
    if row is None or row.file_path is None:
        raise NotFound
    by = may_read_attestations(token, row.adherent_id)
    content = await sealed_file(shop, by.caisse, row)
    number = opened(shop.keys, by.caisse, row).payload.id
    who = acted_by(token)
    async with shop.db.transaction(by.caisse) as tx:
        # A line a minute for one paper and reader: downloads without end would hide older acts (decision 0121).
        await journal.record_once(
            tx,
            journal.Act(
                action="attestation.downloaded",
                subject_kind="attestation",
                subject_id=public_id("att", row.id),
                adherent_id=row.adherent_id,
                at=clock(),
                actor=actor_of(who),
                details={"number": number, **software_of(who)},
            ),
            f"{who.machine_id or who.person_id}/{who.mandate_id}/{who.mandate_version}",
        )
    return Response(
        content,
        media_type="application/pdf",
        headers={
            "Content-Disposition": f'attachment; filename="attestation-{number}.pdf"',
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _as_told(shop: Workshop, issued: Issued) -> dict[str, Any]:
    row, payload = issued.row, issued.payload
    att = public_id("att", row.id)
    return {
        "id": att,
        "number": payload.id,
        "kind": row.kind,
        "state": row.status,
        "as_of": payload.a_jour_au,
        "issued_at": payload.emise_le,
        "legal_name": payload.adherent.raison_sociale,
        "verification_code": groups(issued.draft.code).replace("\u00a0", " "),
        "verification_url": issued.draft.addresses.code,
        "file_url": f"{shop.base}/{payload.caisse.id}/attestations/{att}/file",
    }
