"""What a person let other services do: seen on the account page, and taken back there."""

import re
from datetime import timedelta
from html import unescape
from typing import NamedTuple
from uuid import UUID

from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.pages.formats import siret
from libs.common.values.identifiers import new_id
from services.identity.openid.bucket_names import grant_bucket, new_grant_id
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.consents import given_by
from services.identity.openid.write_client import register_client
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import CAISSE, Visitor, a_person, a_siret, sign_in, told

ME = f"/{CAISSE}/account/me"
WITHDRAW = f"/{CAISSE}/account/consents/withdraw"


async def a_consent(
    db: Database,
    clock: HeldClock,
    person_id: UUID,
    client_name: str,
    account_id: UUID | None = None,
    *,
    client_id: str = "",
    scopes: str = "openid,attestation.read",
    redirect_uri: str = "https://app.example/cb",
) -> str:
    """A person's consent to a public client, a new one unless `client_id` names it; the client's identifier."""
    now = clock()
    async with db.transaction(CAISSE) as tx:
        if not client_id:
            client = await register_client(
                tx,
                ClientMetadata(
                    client_name=client_name,
                    application_type="web" if redirect_uri.startswith("https:") else "native",
                    token_endpoint_auth_method="none",
                    redirect_uris=(redirect_uri,),
                    scope="openid email attestation.read",
                ),
                now=now,
            )
            client_id = client.client_id
        await tx.execute(
            """
            INSERT INTO consent (caisse, id, person_id, client_id, account_id, scopes, given_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            CAISSE, new_id(), person_id, client_id, account_id, scopes.split(","), now, now + timedelta(days=90),
        )  # fmt: skip
    return client_id


class FirmOfAPerson(NamedTuple):
    account_id: UUID
    adherent_id: UUID
    name: str
    siret: str


async def an_account(db: Database, clock: HeldClock, person_id: UUID, name: str) -> FirmOfAPerson:
    """A firm that this person has a live account for."""
    of = FirmOfAPerson(new_id(), new_id(), name, a_siret())
    async with db.transaction(CAISSE) as tx:
        await tx.execute(
            """
            INSERT INTO adherent (id, caisse, adherent_number, siren, siret, legal_name, address, imported_at)
            VALUES ($1, $2, $3, $4, $5, $6, '{}', $7)
            """,
            of.adherent_id, CAISSE, f"A{of.siret[:9]}", of.siret[:9], of.siret, name, clock(),
        )  # fmt: skip
        await tx.execute(
            """
            INSERT INTO account (id, caisse, person_id, adherent_id, is_administrator, rights, state, created_at)
            VALUES ($1, $2, $3, $4, true, '{}', 'active', $5)
            """,
            of.account_id, CAISSE, person_id, of.adherent_id, clock(),
        )  # fmt: skip
    return of


async def a_grant(
    db: Database, clock: HeldClock, person_id: UUID, client_id: str, account_id: UUID | None
) -> UUID:
    """What a consent led to: a grant for that firm."""
    expires_at = clock() + timedelta(hours=1)
    grant_id = new_grant_id(expires_at)
    async with db.transaction(CAISSE) as tx:
        await tx.execute(
            """
            INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, account_id, granted,
                                             created_at, expires_at, bucket)
            VALUES ($1, $2, $3, $4, $5, $6, '{}', $7, $8, $9)
            """,
            CAISSE, grant_id, client_id, person_id, new_id(), account_id, clock(), expires_at,
            grant_bucket(grant_id),
        )  # fmt: skip
    return grant_id


def plain(text: str) -> str:
    return " ".join(text.split())


def buttons(page: str) -> list[str]:
    """Their names, as a screen reader says them."""
    return [
        plain(unescape(re.sub("<[^>]+>", "", name)))
        for name in re.findall("(?s)<button[^>]*>(.*?)</button>", page)
    ]


def first_consent(page: str) -> str:
    return page.partition('name="consent" value="')[2].partition('"')[0]


async def test_an_access_is_told_in_words_and_taken_back(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    person_id = await a_person(identity_db, clock, "gave@exemple.fr")
    await sign_in(visitor, "gave@exemple.fr")
    assert "Vous n’avez donné accès à aucun autre service." in told(await visitor.get(ME))

    await a_consent(identity_db, clock, person_id, "Devis & Chantiers <b>")
    page = await visitor.get(ME)
    assert "Devis & Chantiers <b>" in told(page)
    assert "<b>" not in page.text
    assert "Lire la situation de l’entreprise et ses attestations" in told(page)
    assert 'id="withdraw-1"' in page.text
    assert "attestation.read" not in page.text

    done = await visitor.follow(await visitor.post(WITHDRAW, consent=first_consent(page.text)))
    assert "C’est enregistré." in told(done)
    assert "Devis & Chantiers" not in told(done)
    async with identity_db.transaction(CAISSE) as tx:
        assert await given_by(tx, person_id, clock()) == []
        journal = await tx.fetchval(
            "SELECT person_id FROM journal WHERE action = 'consent.revoked' ORDER BY at DESC LIMIT 1"
        )
    assert journal == person_id


async def test_nobody_takes_back_what_somebody_else_gave(
    app: Litestar, visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    giver = await a_person(identity_db, clock, "giver@exemple.fr")
    await a_person(identity_db, clock, "thief@exemple.fr")
    await a_consent(identity_db, clock, giver, "Paie du bâtiment")
    await sign_in(visitor, "giver@exemple.fr")
    key = first_consent((await visitor.get(ME)).text)
    stranger = Visitor(app)
    await sign_in(stranger, "thief@exemple.fr")

    assert (await stranger.post(WITHDRAW, consent=key)).status_code == 404
    assert (await stranger.post(WITHDRAW, consent="nothing")).status_code == 404
    assert "Paie du bâtiment" in told(await visitor.get(ME))
    assert (await visitor.post(WITHDRAW, consent=key)).status_code == 303
    assert (await visitor.post(WITHDRAW, consent=key)).status_code == 404


async def test_what_one_firm_gave_is_told_and_taken_back_apart(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    """One application, two firms: each button names its firm, and takes back what it names."""
    person_id = await a_person(identity_db, clock, "two-firms@exemple.fr")
    firms = [await an_account(identity_db, clock, person_id, name) for name in ("Toits Bleus", "Murs Droits")]
    given = [await a_consent(identity_db, clock, person_id, "Devis et Chantiers", firms[0].account_id)]
    given += [await a_consent(identity_db, clock, person_id, "", firms[1].account_id, client_id=given[0])]
    grants = [await a_grant(identity_db, clock, person_id, given[0], firm.account_id) for firm in firms]
    await sign_in(visitor, "two-firms@exemple.fr")
    page = await visitor.get(ME)
    names = [name for name in buttons(page.text) if name.startswith("Retirer")]
    assert sorted(names) == sorted(
        f"Retirer – Devis et Chantiers, {firm.name}, SIRET {plain(siret(firm.siret))}" for firm in firms
    )

    which = firms[0].name if names[0].startswith("Retirer – Devis et Chantiers, Toits") else firms[1].name
    done = await visitor.follow(await visitor.post(WITHDRAW, consent=first_consent(page.text)))
    assert [name for name in buttons(done.text) if name.startswith("Retirer")] == [names[1]]
    async with identity_db.transaction(CAISSE) as tx:
        living = await tx.fetch(
            "SELECT id FROM authorization_grant WHERE person_id = $1 AND revoked_at IS NULL", person_id
        )
        of_firm = await tx.fetchval(
            "SELECT adherent_id FROM journal WHERE action = 'consent.revoked' AND person_id = $1", person_id
        )
    kept = next(at for at, firm in enumerate(firms) if firm.name != which)
    assert [row["id"] for row in living] == [grants[kept]]
    assert of_firm == firms[1 - kept].adherent_id


async def test_an_application_agreed_to_again_and_again_is_one_line(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    """Its rights are those of all that was agreed to; taken back, none of it is left."""
    person_id = await a_person(identity_db, clock, "again@exemple.fr")
    client_id = await a_consent(identity_db, clock, person_id, "Pointage", scopes="openid,email")
    for scopes in ("openid,attestation.read", "openid", "openid,attestation.read"):
        clock.forward(seconds=86400)
        await a_consent(identity_db, clock, person_id, "", client_id=client_id, scopes=scopes)
    await sign_in(visitor, "again@exemple.fr")
    page = await visitor.get(ME)
    assert [name for name in buttons(page.text) if name.startswith("Retirer")] == ["Retirer – Pointage"]
    assert "Lire votre adresse électronique" in told(page)
    assert "Lire la situation de l’entreprise et ses attestations" in told(page)
    # Until the first of them ends, nothing of the list is asked again.
    async with identity_db.transaction(CAISSE) as tx:
        (one,) = await given_by(tx, person_id, clock())
    assert one.given_at == clock() and one.expires_at == clock() + timedelta(days=87)
    await visitor.post(WITHDRAW, consent=first_consent(page.text))
    assert "Vous n’avez donné accès à aucun autre service." in told(await visitor.get(ME))


async def test_what_is_asked_each_time_is_not_said_to_be_remembered(
    visitor: Visitor, identity_db: Database, clock: HeldClock
) -> None:
    """The account says of a native app what its consent page said (RFC 8252 §8.6)."""
    person_id = await a_person(identity_db, clock, "native@exemple.fr")
    await a_consent(identity_db, clock, person_id, "Pointage de bureau", redirect_uri="http://127.0.0.1/cb")
    await sign_in(visitor, "native@exemple.fr")
    page = told(await visitor.get(ME))
    assert "Demandé à chaque fois" in page
    assert "Retenu jusqu" not in page
