"""The home of an adhérent: what to do first, then where the firm stands."""

from datetime import datetime

from msgspec import Struct

from libs.common.pages.formats import PARIS
from services.portal.calls.services import Services, gathered
from services.portal.home.activity import merged_acts, named
from services.portal.home.facts import (
    Act,
    Attestation,
    Delegation,
    MemberFile,
    OwnAccount,
    Standing,
    Statement,
    read_as,
    read_list,
)
from services.portal.home.todo import ToDo, to_do
from services.portal.session.session import Session

SHOWN_ACTS = 5


class MemberHome(Struct, frozen=True):
    """The page's facts. `None` means that the service that knows did not answer, or may not tell."""

    account: OwnAccount
    file: MemberFile | None
    standing: Standing | None
    todo: list[ToDo]
    statements: list[Statement] | None
    attestations: list[Attestation] | None
    delegations: list[Delegation] | None
    acts: list[Act] | None


async def member_home(services: Services, session: Session, account: OwnAccount, now: datetime) -> MemberHome:
    """Ask the three services together. Raises `SessionOver`; a service away leaves its part empty."""
    path = f"/adherents/{account.adherent_id}"
    told = await gathered(
        {
            "file": services.get(session, "adherent", path),
            "standing": services.get(session, "adherent", f"{path}/standing"),
            "statements": services.get(session, "adherent", f"{path}/statements"),
            "attestations": services.get(session, "documents", f"{path}/attestations"),
            "delegations": services.get(session, "identity", f"/api{path}/delegations"),
            "adherent_acts": services.get(session, "adherent", f"{path}/acts"),
            "documents_acts": services.get(session, "documents", f"{path}/acts"),
        }
    )
    standing = read_as(Standing, told["standing"])
    statements = read_list(Statement, told["statements"], "statements")
    delegations = read_list(Delegation, told["delegations"], "delegations")
    acts = merged_acts(told["adherent_acts"], told["documents_acts"])
    if acts:
        acts = await named(services, session, account, acts[:SHOWN_ACTS])
    return MemberHome(
        account=account,
        file=read_as(MemberFile, told["file"]),
        standing=standing,
        todo=to_do(standing, statements, delegations, now.astimezone(PARIS).date()),
        statements=statements,
        attestations=read_list(Attestation, told["attestations"], "attestations"),
        delegations=delegations,
        acts=acts,
    )
