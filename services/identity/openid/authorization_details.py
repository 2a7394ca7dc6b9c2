"""Rich authorization requests (RFC 9396): our types, their schema, and narrowing.

`adherent` chooses, at authorization, the firm one acts for, and names it again at the token endpoint.
`mandate` narrows, at the exchange, what a mandate gives. Anything unknown is refused: a limit that
we do not understand would be a limit not held.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from libs.common.values.foreign_json import UnreadableJson, read_json
from services.identity.delegation.terms import MOST_CHOSEN, are_within, too_many
from services.identity.openid.refusals import InvalidAuthorizationDetails

TYPES = ("adherent", "mandate")


class AdherentDetail(Struct, frozen=True, forbid_unknown_fields=True):
    """`{"type": "adherent", "identifier": "mediterranee:123456"}`: the firm the person will act for."""

    type: Literal["adherent"]
    identifier: str


class MandateDetail(Struct, frozen=True, forbid_unknown_fields=True):
    """`{"type": "mandate", "establishments": ["est_…"], "amount_cap_cents": 50000}`: less than the mandate gives."""

    type: Literal["mandate"]
    mandate: str | None = None
    establishments: tuple[str, ...] | None = None
    amount_cap_cents: int | None = None


Detail = TypeVar("Detail", AdherentDetail, MandateDetail)

_adherent_details = msgspec.json.Decoder(list[AdherentDetail])
_mandate_details = msgspec.json.Decoder(list[MandateDetail])


def parse_adherent(text: str | None) -> str | None:
    """The identifier of the firm chosen at authorization, `caisse:number`, if any."""
    if text is None:
        return None
    details = _parse(text, _adherent_details)
    return details[0].identifier


def firm_detail(identifier: str) -> dict[str, Any]:
    """What was granted, as the token response gives it back (RFC 9396 §7)."""
    return {"type": "adherent", "identifier": identifier}


def within_grant(
    granted: Sequence[dict[str, Any]], firm: str | None, text: str | None
) -> list[dict[str, Any]]:
    """The details of a person's token (RFC 9396 §6): those granted, or the firm granted, by its name.

    A grant is for one firm, `caisse:number`, or none: anything else asked is more than it. Raises
    `InvalidAuthorizationDetails`.
    """
    asked = parse_adherent(text)
    if asked is None:
        return list(granted)
    if asked != firm:
        raise InvalidAuthorizationDetails("The firm is not the one of the grant.")
    return [firm_detail(asked)]


def narrow_mandate(detail: dict[str, Any], text: str | None, own: Collection[str]) -> dict[str, Any]:
    """The mandate's own detail ∩ what was asked. Raises `InvalidAuthorizationDetails` on anything wider.

    `own` are the firm's establishments, where the mandate is for all of them.
    """
    if text is None:
        return detail
    asked = _parse(text, _mandate_details)[0]
    if asked.mandate not in (None, detail["mandate"]):
        raise InvalidAuthorizationDetails
    narrowed = dict(detail)
    if asked.establishments is not None:
        if not are_within(asked.establishments, detail["establishments"], own):
            raise InvalidAuthorizationDetails("The establishments are not all within the mandate.")
        if too_many(asked.establishments):
            raise InvalidAuthorizationDetails(f"Name {MOST_CHOSEN} establishments at most.")
        narrowed["establishments"] = list(dict.fromkeys(asked.establishments))
    if asked.amount_cap_cents is not None:
        cap = detail.get("amount_cap_cents")
        if cap is None or not 0 < asked.amount_cap_cents <= cap:
            raise InvalidAuthorizationDetails("The amount is above the mandate's.")
        narrowed["amount_cap_cents"] = asked.amount_cap_cents
    return narrowed


def _parse(text: str, decoder: msgspec.json.Decoder[list[Detail]]) -> list[Detail]:
    try:
        details = read_json(text, decoder)
    except UnreadableJson as error:
        raise InvalidAuthorizationDetails("Unknown type or member.") from error
    if len(details) != 1:
        raise InvalidAuthorizationDetails("One detail is expected.")
    return details
