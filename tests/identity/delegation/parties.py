"""A firm, a cabinet and their people in a real database: what every test of delegation begins with."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.common.access.rights import Bundle
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug
from libs.common.values.identifiers import new_id
from libs.common.values.siret import luhn_digit
from services.identity.cabinets.register import add_collaborator, create_cabinet
from services.identity.delegation import store
from services.identity.delegation.mandate import ALL, Mandate
from services.identity.delegation.notices import Notices
from services.identity.delegation.offer import offer
from services.identity.delegation.parties import MayAnswerForCabinet, MayManageMandates
from services.identity.delegation.terms import Terms, default_days, grants_of_bundle
from services.identity.mail.enqueue import Mail

HERE = parse_caisse_slug("mediterranee")
ELSEWHERE = parse_caisse_slug("grand-ouest")

_sirens = iter(range(10_000_000, 99_999_999))


def a_siren() -> str:
    digits = str(next(_sirens))
    return digits + luhn_digit(digits)


class Scene(NamedTuple):
    """One firm with its administrator, one cabinet with its owner and a member, in one caisse."""

    caisse: CaisseSlug
    adherent_id: UUID
    administrator: UUID
    establishment_id: UUID
    cabinet_id: UUID
    owner: UUID
    member: UUID

    @property
    def firm(self) -> MayManageMandates:
        return MayManageMandates(self.administrator, self.adherent_id, is_stepped_up=True)

    @property
    def cabinet(self) -> MayAnswerForCabinet:
        return MayAnswerForCabinet(self.owner, self.cabinet_id)


def notices() -> Notices:
    return Notices(Mail(KeyEncryption(b"k" * 32)), "https://id.example.test")


def a_key() -> str:
    return str(new_id())


async def a_caisse(db: Database, slug: CaisseSlug, now: datetime) -> None:
    async with db.across_caisses() as tx:
        await tx.execute(
            """
            INSERT INTO caisse (slug, name, network_number, siren, address, phone, email, website, mail_from,
                                created_at)
            VALUES ($1, 'Caisse ' || $1, '13', '732829320', '{}', '04 00 00 00 00', 'contact@caisse.example',
                    'https://caisse.example', 'ne-pas-repondre@caisse.example', $2)
            ON CONFLICT DO NOTHING
            """,
            slug,
            now,
        )


async def a_person(tx: Tx, name: str, now: datetime) -> UUID:
    person_id = new_id()
    email = f"{person_id.hex}@example.test"
    await tx.execute(
        "INSERT INTO person (id, email, email_key, full_name, created_at) VALUES ($1, $2, $2, $3, $4)",
        person_id,
        email,
        name,
        now,
    )
    return person_id


async def a_firm(tx: Tx, now: datetime) -> tuple[UUID, UUID, UUID]:
    """A member firm, its establishment and its administrator."""
    adherent_id, establishment_id = new_id(), new_id()
    siren = a_siren()
    await tx.execute(
        """
        INSERT INTO adherent (id, caisse, adherent_number, siren, legal_name, address, imported_at)
        VALUES ($1, $2, $3, $4, 'Maçonnerie L’Équerre & Fils', '{}', $5)
        """,
        adherent_id,
        tx.the_caisse,
        str(adherent_id.int)[-8:],
        siren,
        now,
    )
    await tx.execute(
        """
        INSERT INTO establishment (id, caisse, adherent_id, siret, name, address, is_head_office)
        VALUES ($1, $2, $3, NULL, 'Siège', '{}', true)
        """,
        establishment_id,
        tx.the_caisse,
        adherent_id,
    )
    administrator = await a_person(tx, "Awa Diallo", now)
    await an_account(tx, administrator, adherent_id, now)
    return adherent_id, establishment_id, administrator


async def an_account(
    tx: Tx, person_id: UUID, adherent_id: UUID, now: datetime, *, administrator: bool = True
) -> None:
    await tx.execute(
        """
        INSERT INTO account (id, caisse, person_id, adherent_id, is_administrator, rights, state, created_at)
        VALUES ($1, $2, $3, $4, $5, '{}', 'active', $6)
        """,
        new_id(),
        tx.the_caisse,
        person_id,
        adherent_id,
        administrator,
        now,
    )


async def a_cabinet(tx: Tx, now: datetime, *, open_to_all: bool = True) -> tuple[UUID, UUID, UUID]:
    """A cabinet, its owner and a member."""
    cabinet = await create_cabinet(tx, a_siren(), "Cabinet Ferrand", now=now, open_to_all=open_to_all)
    owner = await a_person(tx, "Line Ferrand", now)
    member = await a_person(tx, "Hugo Petit", now)
    await add_collaborator(tx, cabinet, owner, "owner", now=now)
    await add_collaborator(tx, cabinet, member, "member", now=now)
    return cabinet, owner, member


async def a_scene(
    db: Database, now: datetime, *, caisse: CaisseSlug = HERE, open_to_all: bool = True
) -> Scene:
    await a_caisse(db, caisse, now)
    async with db.transaction(caisse) as tx:
        adherent_id, establishment_id, administrator = await a_firm(tx, now)
        cabinet_id, owner, member = await a_cabinet(tx, now, open_to_all=open_to_all)
    return Scene(caisse, adherent_id, administrator, establishment_id, cabinet_id, owner, member)


def terms(now: datetime, bundle: Bundle = "declare", **changes: object) -> Terms:
    starts_on, ends_on = default_days(now)
    cap = 500_000 if bundle in ("declare_and_pay", "full") else None
    return Terms(grants_of_bundle(bundle), ALL, starts_on, ends_on, cap)._replace(**changes)  # type: ignore[arg-type]


async def an_offer(
    db: Database, scene: Scene, now: datetime, bundle: Bundle = "declare", **changes: object
) -> Mandate:
    """`changes` are of its terms."""
    wanted = terms(now, bundle, **changes)
    async with db.transaction(scene.caisse) as tx:
        receipt = await offer(
            tx, scene.firm, scene.cabinet_id, wanted, key=a_key(), now=now, notices=notices()
        )
    return receipt.mandate


async def an_active_mandate(
    db: Database, scene: Scene, now: datetime, bundle: Bundle = "declare", **changes: object
) -> Mandate:
    from services.identity.delegation.accept import accept_offer

    offered = await an_offer(db, scene, now, bundle, **changes)
    async with db.transaction(scene.caisse) as tx:
        receipt = await accept_offer(tx, scene.cabinet, offered.id, key=a_key(), now=now, notices=notices())
    return receipt.mandate


async def current(db: Database, scene: Scene, mandate: Mandate) -> Mandate:
    async with db.transaction(scene.caisse) as tx:
        found = await store.find(tx, mandate.id)
    assert found is not None
    return found


async def facts(db: Database, caisse: CaisseSlug, mandate_id: UUID) -> list[str]:
    """The facts told of this mandate, in order, as the ends of their subjects."""
    async with db.transaction(caisse) as tx:
        rows = await tx.fetch(
            """
            SELECT subject FROM outbox
             WHERE position($1::text IN convert_from(body, 'UTF8')) > 0 AND subject LIKE '%.mandate.%'
             ORDER BY position
            """,
            f'"mandate_id":"{mandate_id}"',
        )
    return [row["subject"].split(".", 2)[2] for row in rows]


ONE_DAY = timedelta(days=1)
