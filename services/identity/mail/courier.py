"""The courier: takes a few mails on lease, sends each, and lets a bad one block nobody.

A reply lost after acceptance sends the same mail again: same Message-ID, same link,
so the reader's program folds both, and the link has one effect whoever opens it.
"""

import asyncio
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

import aiosmtplib
import structlog

from libs.common.database.pool import Database
from libs.common.database.transaction import DatabaseUnavailable
from libs.common.http.application import Clock
from libs.common.keys.key_encryption import SealBroken
from libs.common.runtime.settings import MailSettings
from libs.common.runtime.telemetry import gauge
from libs.common.values.email import email_for_relays
from services.identity.mail import store
from services.identity.mail.enqueue import Mail
from services.identity.mail.messages import MESSAGES, Sender, write
from services.identity.mail.store import LeasedMail

log = structlog.get_logger()

LEASE: Final = timedelta(minutes=2)
BATCH: Final = 10
SMTP_TIMEOUT: Final = 15.0
IDLE_SECONDS: Final = 0.5
KEEP: Final = timedelta(days=90)
"""Sent and failed rows: no address nor word in them, kept for the desk and the limits."""

BACKOFF: Final = tuple(timedelta(seconds=s) for s in (2, 10, 60, 300, 900, 3600))
GIVE_UP_AFTER: Final = timedelta(days=3)
DEFECT_TRIES: Final = 5
"""A mail that our own code cannot write: tried for some six minutes (a deployment may be under way), then shown."""


WAITING: Final = gauge("mail_waiting", "Mails committed and neither sent nor given up.")
COUNT_EVERY: Final = 15.0
"""Seconds between two counts of what waits."""


class Undeliverable(Exception):
    """Refused for good: by the relay (5xx), or because its seal does not open."""


async def run_courier(
    relay_db: Database, mail: Mail, settings: MailSettings, clock: Clock, stop: asyncio.Event
) -> None:
    """Send what is due until `stop`; several couriers may run. `relay_db` is the relay role."""
    while not stop.is_set():
        try:
            busy = await send_what_is_due(relay_db, mail, settings, clock)
        except Exception:
            # The database is away, or a defect of ours: the rows wait, their leases end.
            log.exception("mail.courier_failed")
            busy = False
        if not busy:
            try:
                await asyncio.wait_for(stop.wait(), IDLE_SECONDS)
            except TimeoutError:
                continue


async def count_what_waits(relay_db: Database, stop: asyncio.Event) -> None:
    """Keep `espace_mail_waiting` true within `COUNT_EVERY`, until `stop`."""
    while not stop.is_set():
        try:
            await note_what_waits(relay_db)
        except DatabaseUnavailable:
            log.warning("mail.not_counted")
        try:
            await asyncio.wait_for(stop.wait(), COUNT_EVERY)
        except TimeoutError:
            continue


async def note_what_waits(relay_db: Database) -> None:
    async with relay_db.across_caisses() as tx:
        WAITING.set(await store.waiting_count(tx))


async def send_what_is_due(relay_db: Database, mail: Mail, settings: MailSettings, clock: Clock) -> bool:
    """One round; whether there was anything to send."""
    now = clock()
    async with relay_db.across_caisses() as tx:
        leased = await store.lease(tx, now=now, until=now + LEASE, most=BATCH)
    # Side by side: a slow recipient holds its own mail only.
    await asyncio.gather(*(_deliver(relay_db, mail, settings, clock, one) for one in leased))
    return bool(leased)


async def _deliver(
    relay_db: Database, mail: Mail, settings: MailSettings, clock: Clock, leased: LeasedMail
) -> None:
    try:
        await _send(relay_db, mail, settings, leased)
    except Undeliverable as error:
        await _give_up(relay_db, leased, clock(), error)
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        await _try_later(
            relay_db, clock(), leased, error, for_good=clock() - leased.created_at > GIVE_UP_AFTER
        )
    except DatabaseUnavailable:
        # Nothing can be noted: the lease ends by itself.
        log.warning("mail.lease_left", mail_id=str(leased.id))
    except Exception as error:
        # An unknown template, a value it lacks: a defect of ours, and no reason to hold up the others.
        log.exception("mail.not_written", mail_id=str(leased.id), template=leased.template)
        await _try_later(relay_db, clock(), leased, error, for_good=leased.tries >= DEFECT_TRIES)
    else:
        async with relay_db.across_caisses() as tx:
            await store.mark_sent(tx, leased.id, now=clock())
        log.info("mail.sent", mail_id=str(leased.id), template=leased.template, tries=leased.tries)


async def _try_later(
    relay_db: Database, now: datetime, leased: LeasedMail, error: Exception, *, for_good: bool
) -> None:
    if for_good:
        await _give_up(relay_db, leased, now, error)
        return
    again = now + BACKOFF[min(leased.tries, len(BACKOFF)) - 1]
    log.warning("mail.delayed", mail_id=str(leased.id), reason=type(error).__name__, tries=leased.tries)
    async with relay_db.across_caisses() as tx:
        await store.try_again(tx, leased.id, at=again, error=type(error).__name__)


async def _send(relay_db: Database, mail: Mail, settings: MailSettings, leased: LeasedMail) -> None:
    async with relay_db.across_caisses() as tx:
        sender = await store.sender_of(tx, leased.caisse)
    message = compose(mail, sender, leased)
    try:
        await aiosmtplib.send(
            message,
            hostname=settings.host,
            port=settings.port,
            username=settings.username or None,
            password=settings.password or None,
            start_tls=settings.starttls,
            timeout=SMTP_TIMEOUT,
        )
    except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused) as error:
        if _is_final(error):
            raise Undeliverable(type(error).__name__) from error
        raise


def _is_final(error: aiosmtplib.SMTPResponseException | aiosmtplib.SMTPRecipientsRefused) -> bool:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refused.code >= 500 for refused in error.recipients)
    return error.code >= 500 and not isinstance(error, aiosmtplib.SMTPAuthenticationError)


def compose(mail: Mail, sender: Sender, leased: LeasedMail) -> EmailMessage:
    """The mail as it leaves, the same at each try. Raises `Undeliverable` when its seal does not open."""
    try:
        letter = mail.open(leased.id.bytes, leased.parameters)
    except SealBroken as error:
        raise Undeliverable("SealBroken") from error
    written = write(MESSAGES[leased.template], sender, letter.values)
    message = EmailMessage()
    message["From"] = Address(display_name=_as_it_reads(sender.name), addr_spec=sender.mail_from)
    message["To"] = email_for_relays(letter.to)
    message["Subject"] = _as_it_reads(written.subject)
    message["Message-ID"] = leased.message_id
    message["Date"] = format_datetime(leased.created_at)
    # RFC 3834 §5: no robot answers; and the link is for one person only.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["Content-Language"] = leased.locale
    message.set_content(written.text, cte="quoted-printable")
    message.add_alternative(written.html, subtype="html", cte="quoted-printable")
    return message


def _as_it_reads(text: str) -> str:
    """Text that begins no encoded word (RFC 2047 §2): the library would decode it, line ends and headers included."""
    return text.replace("=?", "= ?")


async def _give_up(relay_db: Database, leased: LeasedMail, now: datetime, error: Exception) -> None:
    reason = str(error) if isinstance(error, Undeliverable) else type(error).__name__
    log.error("mail.given_up", mail_id=str(leased.id), template=leased.template, reason=reason)
    async with relay_db.across_caisses() as tx:
        await store.give_up(tx, leased.id, now=now, error=reason)
