"""What the person signed in is here: somebody of a firm, of a cabinet, or of both."""

from libs.common.refusals import NotFound
from services.portal.calls.services import Services
from services.portal.home.facts import Me, OwnAccount, read_as
from services.portal.session.session import Session


async def who_is_signed_in(services: Services, session: Session) -> Me:
    """The person's firms and cabinets at this caisse, from identity. Raises `ServiceDown`."""
    me = read_as(Me, await services.get(session, "identity", "/api/me"))
    return me or Me()


def chosen_account(me: Me, session: Session) -> OwnAccount | None:
    """The firm the session is for; the only one, when nothing was chosen."""
    wanted = me.adherent or session.adherent
    for account in me.accounts:
        if wanted in (None, account.adherent_id):
            return account
    return None


def own_account(me: Me, session: Session) -> OwnAccount:
    """The firm the session is for. Raises `NotFound` for somebody who has none."""
    account = chosen_account(me, session)
    if account is None:
        raise NotFound
    return account
