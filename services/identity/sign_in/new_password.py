"""Forgotten or changed: a new password needs the mailed secret, or the present one and a session.

A link never signs anybody in: after it, one signs in with the new password.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from libs.common.database import journal
from libs.common.database.journal import Act, Actor
from libs.common.database.pool import Database
from libs.common.database.transaction import Tx
from libs.common.refusals import DomainError
from libs.common.values.caisse_slug import CaisseSlug
from libs.common.values.email import Email, email_key
from libs.common.values.identifiers import new_id, public_id
from services.identity.mail.enqueue import Mail, MailLimitReached
from services.identity.sign_in import store, throttle
from services.identity.sign_in.destination import Destination
from services.identity.sign_in.devices import know_device, known_device
from services.identity.sign_in.forgotten_password import store as resets
from services.identity.sign_in.password import Passwords
from services.identity.sign_in.password_rules import check_password_choice
from services.identity.sign_in.session import end_all_sessions, hash_of, new_secret
from services.identity.sign_in.sign_in import Browser
from services.identity.sign_in.store import Person
from services.identity.sign_in.totp import falls_with, remove_totp

LINK_LASTS = timedelta(hours=1)


class LinkNotUsable(DomainError):
    """Unknown, spent, superseded or expired link: deliberately one answer."""


async def ask_new_password(
    tx: Tx,
    mail: Mail,
    email: Email,
    *,
    base: str,
    onward: Destination,
    device_cookie: str | None,
    now: datetime,
) -> None:
    """Mail a link to whoever has this address; nobody learns whether somebody has.

    The limits of the address hold in silence: the page that follows is the same. A device
    that signed this person in has an allowance of its own, so that a stranger who spends
    the address's ten mails of the day keeps nobody from theirs.
    """
    person = await store.find_person(tx, email_key=email_key(email))
    if person is None or person.state != "active":
        return
    is_strange = not await _is_known_device_at_rest(tx, person, device_cookie, now)
    token, deadline = new_secret(), now + LINK_LASTS
    # Where they were going goes with the link; it leads there only in the browser that was on its way.
    carried = onward.query.replace("?", "&", 1)
    link = f"{base}/{tx.the_caisse}/new-password?link={token}{carried}"
    values = {"link": link, "deadline": deadline.isoformat()}
    try:
        await mail.enqueue(
            tx, template="password_reset", to=person.email, values=values, now=now, limited=is_strange
        )
    except MailLimitReached:
        # The link already sent stays good: a flood of asks cannot take it away.
        return
    await resets.supersede_resets(tx, person.id, now=now)
    await resets.add_reset(tx, new_id(), hash_of(token), person_id=person.id, now=now, expires_at=deadline)


async def _is_known_device_at_rest(tx: Tx, person: Person, device_cookie: str | None, now: datetime) -> bool:
    device = await known_device(tx, person.id, device_cookie)
    if device is None:
        return False
    try:
        await throttle.spend(tx, "reset-device", device.hex, throttle.PER_RESET, now=now)
    except throttle.Throttled:
        return False
    return True


class OwnersLink(NamedTuple):
    """Whose password a link changes, and whether their second factor goes with the former one."""

    person: Person
    drops_factor: bool
    is_disavowal: bool

    @property
    def keeps_factor(self) -> bool:
        return self.person.has_totp and not self.drops_factor


async def owner_of_link(tx: Tx, link_token: str, *, now: datetime) -> OwnersLink:
    """What this link may do; reading spends nothing. Raises `LinkNotUsable`."""
    reset = await resets.find_reset(tx, hash_of(link_token), now=now)
    person = await store.find_person(tx, person_id=reset.person_id) if reset else None
    if reset is None or person is None or person.state != "active":
        raise LinkNotUsable
    return OwnersLink(person, await falls_with(tx, reset), reset.disavowed_from is not None)


async def set_password_by_link(
    db: Database,
    passwords: Passwords,
    mail: Mail,
    caisse: CaisseSlug,
    link_token: str,
    password: str,
    *,
    browser: Browser,
    now: datetime,
) -> str | None:
    """Replace a forgotten password, once per link, and end every session of its owner, whatever its caisse.

    The second factor stays, but one that a password alone had enrolled, or that this very link was
    mailed to disavow (`falls_with`).

    The browser that held the mailed secret is known from then on, though not signed in: the
    tries of strangers on this account cannot keep it waiting. Returns its device cookie, if new.

    Raises `LinkNotUsable`, and the refusals of `check_password_choice`.
    """
    # 1. Judge the choice before spending the link: a refused password leaves it good.
    async with db.transaction(caisse) as tx:
        judged = await owner_of_link(tx, link_token, now=now)
    known = [judged.person.email, judged.person.full_name]
    check_password_choice(password, known=known, has_second_factor=judged.keeps_factor)

    # 2. The slow hash holds no connection.
    encoded = await passwords.hash(password)

    # 3. Spend, change, sign out and tell, together or not at all.
    async with db.transaction(caisse) as tx:
        link = await owner_of_link(tx, link_token, now=now)
        if not await resets.claim_reset(tx, hash_of(link_token), now=now):
            raise LinkNotUsable
        # The factor went while the password was hashed: the choice was judged as one that it helps.
        if judged.keeps_factor and not link.keeps_factor:
            check_password_choice(password, known=known)
        if link.drops_factor:
            await remove_totp(tx, mail, link.person, now=now)
        await _replace(tx, mail, link.person, encoded, keep_session=None, now=now)
        if link.is_disavowal:
            await resets.supersede_resets(tx, link.person.id, now=now, disavowals_too=True)
        if await known_device(tx, link.person.id, browser.device_cookie) is not None:
            return None
        return await know_device(tx, link.person.id, browser.user_agent, now=now)


async def change_password(
    tx: Tx, mail: Mail, person: Person, encoded: str, *, session_id: UUID, now: datetime
) -> None:
    """Replace the password of somebody signed in, whose present one was just checked.

    Every other browser signs out, whatever its caisse; the caller renews this session in the same transaction.
    """
    await _replace(tx, mail, person, encoded, keep_session=session_id, now=now)


async def _replace(
    tx: Tx, mail: Mail, person: Person, encoded: str, *, keep_session: UUID | None, now: datetime
) -> None:
    await store.set_password(tx, person.id, encoded, now=now)
    await resets.supersede_resets(tx, person.id, now=now)
    owner, way = Actor(person_id=person.id), "link" if keep_session is None else "session"
    # Somebody else may hold tokens whose session is long over: not only those of the sessions at hand end.
    await end_all_sessions(
        tx, person.id, by=owner, why={"because": "password.changed", "by": way}, kept=keep_session, now=now
    )
    await journal.record(
        tx,
        Act(
            action="password.changed",
            subject_kind="person",
            subject_id=public_id("per", person.id),
            at=now,
            actor=owner,
            details={"by": way},
        ),
    )
    await mail.enqueue(
        tx, template="notice_password_changed", to=person.email, values={"at": now.isoformat()}, now=now
    )
