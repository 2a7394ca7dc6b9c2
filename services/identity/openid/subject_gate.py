"""One gate that every grant passes, so that no sibling can forget a check.

Authorization, code, refresh, exchange, UserInfo and introspection all ask here
whether the subject may still act. The reasons differ for the log, never for the
caller. What it lets through has a type of its own, which whatever writes a token
asks for: a grant that forgets the gate is not one that Python's types accept.
"""

from datetime import datetime
from typing import Any, NewType

from libs.common.access import rights
from libs.common.access.revocations import is_under
from services.identity.cabinets.machine_store import Machine
from services.identity.openid.clients import Client
from services.identity.openid.issuer import OPENID_SCOPES
from services.identity.openid.snapshot import Grant, Subject

InForce = NewType("InForce", Grant)
"""A grant that passed the gate in this very request: `check_grant` and `check_token` are the only doors."""

AnsweredFor = NewType("AnsweredFor", Machine)
"""A cabinet's software that passed the gate in this very request: `check_machine` is the only door."""


class Stopped(Exception):
    """The gate is closed. `reason` is for our log and journal only."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_client(client: Client) -> None:
    """A disabled client obtains nothing, by any grant."""
    if client.state != "active":
        raise Stopped("client_disabled")


def check_subject(subject: Subject) -> None:
    """The person and, where they act for a firm, their account and the firm itself."""
    if subject.person_state != "active":
        raise Stopped("person_suspended")
    if subject.account_id is not None:
        if subject.account_state != "active":
            raise Stopped("account_not_active")
        if subject.adherent_state != "member":
            raise Stopped("adherent_struck_off")


def check_grant(grant: Grant, client: Client, now: datetime) -> InForce:
    """A grant in force, of this client as it proves itself today, whose subject may act.

    It lives as its session does, whose clocks are its own; one that is offline, until the person changes
    their password or is suspended.
    """
    check_client(client)
    if grant.revoked:
        raise Stopped("grant_revoked")
    if not grant.check_client(client):
        raise Stopped("grant_of_another_client")
    if client.not_before is not None and grant.created_at <= client.not_before:
        raise Stopped("client_proves_nothing_more")
    check_subject(grant.subject)
    if grant.granted.offline:
        if grant.outdated:
            raise Stopped("grant_outdated")
    elif grant.subject.session_ends_at is None or grant.subject.session_ends_at <= now:
        raise Stopped("session_over")
    return InForce(grant)


def check_token(
    claims: dict[str, Any], floor: datetime | None, grant: Grant, client: Client, now: datetime
) -> InForce:
    """A person's own access token, wherever it is shown: no floor was raised above it, its grant is in force, and it
    says no more than would be given today.

    `floor` is the highest of those it stands under (`presented.floors_of`), as the services judge it.
    """
    if floor is not None and is_under(floor.timestamp(), claims["iat"]):
        raise Stopped("token_under_a_floor")
    passed = check_grant(grant, client, now)
    scopes = frozenset(claims["scope"].split())
    if not scopes <= allowed_scopes(scopes, client, grant.subject):
        raise Stopped("scope_withdrawn")
    return passed


def check_machine(machine: Machine, client: Client) -> AnsweredFor:
    """A client in force, and a sponsor who still answers for it: a machine falls with that person."""
    check_client(client)
    if machine.sponsor_state != "active":
        raise Stopped("sponsor_suspended")
    if machine.membership != "active":
        raise Stopped("sponsor_left")
    return AnsweredFor(machine)


def allowed_scopes(scopes: frozenset[str], client: Client, subject: Subject) -> frozenset[str]:
    """requested ∩ client ceiling ∩ what the person may do for the firm they act for.

    Without an account, nothing about a firm; with one, its rights; an
    administrator has them all. Judged anew at every grant: a right withdrawn
    bites at the next token.
    """
    ceiling = scopes & client.scopes
    if subject.account_id is None:
        return ceiling & OPENID_SCOPES
    held = rights.ADMINISTRATOR if subject.is_administrator else subject.rights & rights.DELEGABLE
    return ceiling & (OPENID_SCOPES | held)
