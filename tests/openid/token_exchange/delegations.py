"""Both hands that may hold a mandate's power: a collaborator's, by their token, and a machine's, by itself."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from libs.common.access.signatures import SigningKey
from libs.common.database.pool import Database
from libs.common.values.identifiers import public_id
from services.identity.cabinets.machine_store import Registered
from services.identity.cabinets.machines import metadata_of
from services.identity.delegation.mandate import Mandate
from services.identity.openid.clients import CLIENT_CREDENTIALS, CODE, REFRESH, TOKEN_EXCHANGE
from services.identity.openid.token_exchange import ACCESS_TOKEN, MANDATE
from tests.identity.cabinets import software
from tests.identity.delegation.parties import Scene, a_scene, an_active_mandate
from tests.openid.party import Issuer, Party, Somebody

CEILING = "openid declaration.read declaration.submit attestation.read attestation.request"


@dataclass
class Delegation:
    """A mandate in force, and a client of the cabinet with whatever proves its actor."""

    issuer: Issuer
    scene: Scene
    mandate: Mandate
    client: Party
    actor: str | None
    machine: Registered | None = None

    async def exchange(self, **changes: str | None) -> httpx.Response:
        said: dict[str, str | None] = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": public_id("mdt", self.mandate.id),
            "subject_token_type": MANDATE,
            "actor_token": self.actor,
            "actor_token_type": ACCESS_TOKEN if self.actor else None,
            "resource": self.issuer.adherent,
            **changes,
        }
        return await self.client.post(
            "/token", {name: value for name, value in said.items() if value is not None}
        )

    async def again(self) -> None:
        """The hour has changed: a person comes back with a new token."""
        if self.actor is not None:
            self.actor = await actor_token(self.issuer, self.client, self.scene.member)


async def actor_token(issuer: Issuer, client: Party, person_id: UUID, *, acr: str = "mfa") -> str:
    who = Somebody(issuer, person_id, "")
    await who.sign_in(acr=acr, amr=["pwd", "otp"] if acr == "mfa" else ["pwd"])
    return (await client.tokens(who))["access_token"]


async def cabinet_client(issuer: Issuer) -> Party:
    return await issuer.client(
        profile="fapi", grant_types=(CODE, REFRESH, TOKEN_EXCHANGE, CLIENT_CREDENTIALS), scope=CEILING
    )


async def by_a_person(db: Database, issuer: Issuer, scene: Scene, mandate: Mandate) -> Delegation:
    """The cabinet's member, signed in with two factors through a cabinet's client."""
    client = await cabinet_client(issuer)
    return Delegation(issuer, scene, mandate, client, await actor_token(issuer, client, scene.member))


async def by_a_machine(
    db: Database, issuer: Issuer, scene: Scene, mandate: Mandate, **changes: Any
) -> Delegation:
    """A machine of the cabinet, for which its member answers."""
    machine, client = await a_machine(db, issuer, scene, **changes)
    return Delegation(issuer, scene, mandate, client, None, machine)


async def a_machine(
    db: Database, issuer: Issuer, scene: Scene, name: str = "Paie & Co", **changes: Any
) -> tuple[Registered, Party]:
    key = SigningKey.generate("ES256")
    machine = await software.a_machine(
        db, scene, issuer.clock(), name,
        **{"keys": [key.published_jwk()], "resources": (issuer.adherent, issuer.documents), **changes},
    )  # fmt: skip
    return machine, Party(issuer, machine.client_id, key, metadata_of(machine))


BY = {"person": by_a_person, "machine": by_a_machine}


async def delegated(db: Database, issuer: Issuer, actor: str, *, open_to_all: bool = True) -> Delegation:
    """A mandate in force that lets machines act, in this actor's hand."""
    scene = await a_scene(db, issuer.clock(), caisse=issuer.caisse, open_to_all=open_to_all)
    mandate = await an_active_mandate(db, scene, issuer.clock(), machine=True)
    return await BY[actor](db, issuer, scene, mandate)


def refused(answer: httpx.Response, error: str = "invalid_grant", status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
