"""What a person let other services do: seen on the account page, and taken back there."""

from datetime import timedelta
from typing import Any

from litestar import Litestar

from libs.common.database.pool import Database
from libs.common.values.identifiers import new_id
from services.identity.openid.clients import ClientMetadata
from services.identity.openid.consents import given_by
from services.identity.openid.write_client import register_client
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import CAISSE, Visitor, a_person, sign_in, told

ME = f"/{CAISSE}/account/me"
WITHDRAW = f"/{CAISSE}/account/consents/withdraw"


async def a_consent(db: Database, clock: HeldClock, person_id: Any, client_name: str) -> str:
    """A person's consent to a public client; the client's identifier."""
    now = clock()
    async with db.transaction(CAISSE) as tx:
        client = await register_client(
            tx,
            ClientMetadata(
                client_name=client_name,
                token_endpoint_auth_method="none",
                redirect_uris=("https://app.example/cb",),
                scope="openid attestation.read",
            ),
            now=now,
        )
        await tx.execute(
            """
            INSERT INTO consent (caisse, id, person_id, client_id, scopes, given_at, expires_at)
            VALUES ($1, $2, $3, $4, '{openid,attestation.read}', $5, $6)
            """,
            CAISSE, new_id(), person_id, client.client_id, now, now + timedelta(days=90),
        )  # fmt: skip
    return client.client_id


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
