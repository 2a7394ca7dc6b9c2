"""Delegations as pages tell them: plain words, no identifiers of ours."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from libs.common.values.identifiers import public_id
from services.identity.delegation.mandate import ALL, FINAL, LIVE, Mandate
from services.identity.delegation.reading_store import ActLine, Listed, Place, VersionLine
from services.identity.delegation.wording import ACTION, EVENT, FAMILY, NEVER, STATE, can, cannot


class Promise(NamedTuple):
    """What a delegation lets the cabinet do, and what it never will."""

    can: list[str]
    cannot: list[str]
    never: tuple[str, ...]


def promise(scopes: Iterable[str], *, to_cabinet: bool = False) -> Promise:
    """The promise in the firm's words (« vos déclarations »), or as told to its cabinet (« ses déclarations »)."""
    held = frozenset(scopes)
    told = Promise(can(held), cannot(held), NEVER)
    if not to_cabinet:
        return told
    return Promise(
        [_of_the_client(phrase) for phrase in told.can],
        [_of_the_client(phrase) for phrase in told.cannot],
        tuple(_of_the_client(phrase) for phrase in told.never),
    )


def _of_the_client(phrase: str) -> str:
    return phrase.replace("vos ", "ses ").replace("votre ", "son ")


Tense = Literal["will", "could", "never"]


def tense(mandate: Mandate, now: datetime) -> Tense:
    """How its rights are told: to come or in force, over, or never given at all."""
    if mandate.state in LIVE and not mandate.is_over(now) and not mandate.is_unanswered(now):
        return "will"
    was_in_force = ("active", "suspended", "replaced", "revoked", "resigned", "ended")
    return "could" if mandate.state in was_in_force else "never"


class Card(NamedTuple):
    """One mandate in a list."""

    id: str
    cabinet: str
    cabinet_siren: str
    firm: str
    firm_siren: str | None
    adherent_number: str
    family: str
    role: str
    state: str
    state_kind: str
    mandate: Mandate


def card(listed: Listed) -> Card:
    text, kind = STATE[listed.mandate.state]
    return Card(
        id=public_id("mdt", listed.mandate.id),
        cabinet=listed.cabinet_name,
        cabinet_siren=listed.cabinet_siren,
        firm=listed.firm_name,
        firm_siren=listed.firm_siren,
        adherent_number=listed.adherent_number,
        family=FAMILY[listed.mandate.family],
        role="Consultation seule" if listed.mandate.role == "observer" else "Cabinet principal",
        state=text,
        state_kind=kind,
        mandate=listed.mandate,
    )


class Shelves(NamedTuple):
    """The list of a firm's delegations, as the page sorts it."""

    live: list[Card]
    waiting: list[Card]
    former: list[Card]
    over: list[Card]


def shelves(every: Sequence[Listed]) -> Shelves:
    cards = [card(listed) for listed in every]
    return Shelves(
        [one for one in cards if one.mandate.state in ("active", "suspended")],
        [one for one in cards if one.mandate.state in ("offered", "requested")],
        [one for one in cards if one.mandate.state == "legacy_lapsed"],
        [one for one in cards if one.mandate.state in FINAL],
    )


def places(chosen: Sequence[str], known: Sequence[Place]) -> list[str]:
    """The names of the chosen establishments; empty for all of them."""
    if tuple(chosen) == ALL:
        return []
    names = {public_id("est", place.id): place.name for place in known}
    return [names.get(one, "Établissement fermé") for one in chosen]


SIDE = {
    "adherent": "l’entreprise",
    "cabinet": "le cabinet",
    "caisse": "la caisse",
    "clock": "échéance",
    "import": "reprise de l’ancien système",
    "system": "la caisse",
}


def told_history(versions: Sequence[VersionLine]) -> list[dict[str, Any]]:
    """The mandate's own story for the timeline."""
    return [
        {
            "at": line.at,
            "title": EVENT[line.event],
            "who": f"{line.person_name}, pour {SIDE[line.side]}" if line.person_name else SIDE[line.side],
            "detail": "",
        }
        for line in versions
    ]


def _software(name: str | None) -> str:
    return f"{name} (logiciel du cabinet)" if name else "Logiciel du cabinet"


def told_acts(acts: Sequence[ActLine]) -> list[dict[str, Any]]:
    """Who did what for the firm, each collaborator and each machine by name."""
    return [
        {
            "at": line.at,
            "title": ACTION.get(line.action, line.action),
            "who": line.person_name or _software(line.machine_name),
            "detail": line.object,
        }
        for line in acts
    ]
