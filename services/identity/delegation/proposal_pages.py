"""The two pages on which a delegation is chosen and shown back: a new one, or a former one renewed."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.access.rights import BUNDLES
from libs.common.database.transaction import Tx
from libs.common.refusals import NotFound
from libs.common.values.identifiers import parse_public_id, public_id
from libs.common.values.sentence import Sentence
from services.identity.cabinets import store as cabinets
from services.identity.delegation import form, reading_store
from services.identity.delegation.parties import MayManageMandates, administrator_in
from services.identity.delegation.reading_store import OwnAccount, Place
from services.identity.delegation.shown import card, places, promise
from services.identity.delegation.terms import Terms
from services.identity.delegation.wording import BUNDLE, GROUPS, RIGHT
from services.identity.sign_in.session import Session
from services.identity.site.routes import AnyRequest, AnyResponse, Site

STEPS = ("Le cabinet", "Ses droits", "Vérification", "C’est fait")


class Proposal(NamedTuple):
    """What is shown back before it is given: by whom, to whom, on which terms, and where the button posts.

    `former` is the public id of the former authorisation renewed, and `key` the
    command's; both are empty for a new delegation, whose draft is its key.
    """

    by: MayManageMandates
    cabinet_id: UUID
    terms: Terms
    action: str
    former: str = ""
    key: str = ""


async def firm_of(
    tx: Tx, request: AnyRequest, session: Session, now: datetime, *, named: str = ""
) -> tuple[OwnAccount, MayManageMandates]:
    """The firm meant by `?adherent=`, or the person's first one, and the proof that it may manage it."""
    own = await reading_store.accounts_of(tx, session.person_id)
    wanted = named or request.query_params.get("adherent", "")
    if wanted:
        adherent_id = parse_public_id("adh", wanted)
        own = [account for account in own if account.adherent_id == adherent_id]
    if not own:
        raise NotFound
    account = next((one for one in own if one.is_administrator), own[0])
    return account, await administrator_in(tx, session, account.adherent_id, now)


async def account_of(tx: Tx, person_id: UUID, adherent_id: UUID) -> OwnAccount:
    """The person's own account at this firm. Raises `NotFound`."""
    for account in await reading_store.accounts_of(tx, person_id):
        if account.adherent_id == adherent_id:
            return account
    raise NotFound


def terms_page(
    request: AnyRequest,
    site: Site,
    account: OwnAccount,
    cabinet: cabinets.Cabinet,
    own: list[Place],
    typed: form.Typed,
    *,
    former: str = "",
    errors: dict[str, Sentence] | None = None,
) -> AnyResponse:
    return site.page(
        request,
        "delegation_terms.html",
        status_code=422 if errors else 200,
        account=account,
        adherent=public_id("adh", account.adherent_id),
        cabinet=cabinet,
        former=former,
        typed=typed,
        bundles=[(name, *BUNDLE[name]) for name in BUNDLE if name in BUNDLES],
        grid=[(title, [(scope, RIGHT[scope]) for scope in scopes]) for title, scopes in GROUPS],
        own=[(public_id("est", place.id), place.name, place.siret) for place in own],
        steps=STEPS,
        errors=errors or {},
    )


async def check_page(tx: Tx, request: AnyRequest, site: Site, shown: Proposal) -> AnyResponse:
    """The proposal in plain words, whom it would replace, and the button."""
    terms, adherent_id = shown.terms, shown.by.adherent_id
    account = await account_of(tx, shown.by.person_id, adherent_id)
    cabinet = await cabinets.find(tx, shown.cabinet_id)
    if cabinet is None:
        raise NotFound
    families = [family for family, grant in terms.grants.items() if grant.role == "principal"]
    in_force = await reading_store.principals_in_force(tx, adherent_id, families)
    own = await reading_store.places_of(tx, adherent_id)
    return site.page(
        request,
        "delegation_check.html",
        account=account,
        adherent=public_id("adh", adherent_id),
        cabinet=cabinet,
        terms=terms,
        promise=promise(scope for grant in terms.grants.values() for scope in grant.scopes),
        replaced=[card(listed) for listed in in_force if listed.mandate.cabinet_id != shown.cabinet_id],
        places=places(terms.establishments, own),
        action=shown.action,
        former=shown.former,
        key=shown.key,
        steps=STEPS,
    )
