"""The mail leaves after its cause, at least once, and a bad one blocks nobody."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from uuid import uuid4

import msgspec
import pytest
from prometheus_client import REGISTRY

from libs.common.database.pool import Database
from libs.common.keys.key_encryption import KeyEncryption
from libs.common.runtime.mail_catcher.smtp import Fault
from libs.common.runtime.settings import MailSettings
from services.identity.mail.courier import compose, note_what_waits, run_courier, send_what_is_due
from services.identity.mail.enqueue import PURPOSE, Letter, Mail, MailLimitReached
from services.identity.mail.messages import MESSAGES, Sender, write
from services.identity.mail.store import LeasedMail
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import CAISSE, Post, Visitor, a_person

LINK = "https://id.example.test/mediterranee/new-password?link=s3cr3t"


@pytest.fixture(autouse=True)
async def empty_queue(app: object, identity_relay: Database) -> AsyncIterator[None]:
    yield
    async with identity_relay.across_caisses() as tx:
        await tx.execute("DELETE FROM mail_queue")


async def ask(db: Database, mail: Mail, clock: HeldClock, to: str, **more: object) -> None:
    async with db.transaction(CAISSE) as tx:
        values = {"link": LINK, "deadline": clock().isoformat()}
        await mail.enqueue(tx, template="password_reset", to=to, values=values, now=clock(), **more)  # type: ignore[arg-type]


async def row_of(db: Database) -> dict[str, object]:
    async with db.transaction(CAISSE) as tx:
        row = await tx.fetchrow("SELECT tries, sent_at, failed_at, parameters, last_error FROM mail_queue")
    assert row is not None
    return dict(row)


async def test_a_mail_says_what_it_must(post: Post, identity_db: Database, clock: HeldClock) -> None:
    await ask(identity_db, post.mail, clock, "rose@exemple.fr")
    message = await post.newest("rose@exemple.fr")
    assert message.from_ == "Caisse Méditerranée <ne-pas-repondre@mediterranee.example.test>"
    assert LINK in message.text
    assert LINK in message.links
    assert "fonts.googleapis" not in message.html


async def test_a_domain_with_accents_is_written_to_as_every_relay_reads_it(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "rose@b\u00fccher.example")
    await post.deliver()
    (message,) = post.mailbox.newest("rose@xn--bcher-kva.example")
    assert message.to == ["rose@xn--bcher-kva.example"]


async def test_what_it_said_is_sealed_then_erased(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "sealed@exemple.fr")
    waiting = (await row_of(identity_db))["parameters"]
    assert isinstance(waiting, bytes)
    assert b"sealed@exemple.fr" not in waiting
    assert b"s3cr3t" not in waiting
    await post.deliver()
    sent = await row_of(identity_db)
    assert sent["parameters"] is None
    assert sent["sent_at"] is not None


async def test_a_cause_rolled_back_writes_to_nobody(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    with pytest.raises(RuntimeError):
        async with identity_db.transaction(CAISSE) as tx:
            values = {"link": LINK, "deadline": clock().isoformat()}
            await post.mail.enqueue(
                tx, template="password_reset", to="x@exemple.fr", values=values, now=clock()
            )
            raise RuntimeError
    await post.deliver()
    assert post.mailbox.newest("x@exemple.fr") == []


async def test_a_lost_answer_sends_the_same_mail_again(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "twice@exemple.fr")
    post.catcher.fault = Fault(mode="answer_lost", times=1)
    await post.deliver()
    clock.forward(seconds=3)
    await post.deliver()
    first, second = post.mailbox.newest("twice@exemple.fr")
    assert first.message_id == second.message_id
    assert first.text == second.text
    assert first.links == second.links


@pytest.mark.parametrize("mode", ["busy", "silent"])
async def test_a_troubled_server_is_tried_again_later(
    post: Post, identity_db: Database, clock: HeldClock, mode: str
) -> None:
    await ask(identity_db, post.mail, clock, "later@exemple.fr")
    post.catcher.fault = Fault(mode=mode)  # type: ignore[arg-type]
    await post.deliver()
    await post.deliver()
    assert (await row_of(identity_db))["tries"] == 1
    clock.forward(seconds=3)
    await post.deliver()
    clock.forward(seconds=3)
    await post.deliver()
    assert (await row_of(identity_db))["tries"] == 2
    post.catcher.fault = Fault()
    clock.forward(seconds=11)
    assert (await post.newest("later@exemple.fr")).subject


async def test_a_refused_mail_is_given_up_and_blocks_nobody(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    post.catcher.fault = Fault(mode="refused", to="wrong@exemple.fr")
    await ask(identity_db, post.mail, clock, "wrong@exemple.fr")
    for n in range(15):
        await ask(identity_db, post.mail, clock, f"good{n}@exemple.fr")
    await post.deliver()
    assert len(post.mailbox.newest()) == 15
    async with identity_db.transaction(CAISSE) as tx:
        given_up = await tx.fetchrow(
            "SELECT parameters, last_error FROM mail_queue WHERE failed_at IS NOT NULL"
        )
    assert given_up is not None
    assert given_up["parameters"] is None


async def test_a_row_that_does_not_open_blocks_nobody(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "broken@exemple.fr")
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE mail_queue SET parameters = 'garbage'")
    await ask(identity_db, post.mail, clock, "next@exemple.fr")
    assert (await post.newest("next@exemple.fr")).subject
    assert post.mailbox.newest("broken@exemple.fr") == []


async def test_a_mail_that_cannot_be_written_is_given_up_after_some_tries_and_shown(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "unwritten@exemple.fr")
    async with identity_db.transaction(CAISSE) as tx:
        # As when the row was put there by a later version, since taken back.
        await tx.execute("UPDATE mail_queue SET template = 'of_tomorrow' WHERE sent_at IS NULL")
    for tried in range(1, 5):
        await post.deliver()
        row = await row_of(identity_db)
        assert (row["tries"], row["last_error"], row["failed_at"]) == (tried, "KeyError", None)
        clock.forward(hours=1)
    await ask(identity_db, post.mail, clock, "behind@exemple.fr")
    assert (await post.newest("behind@exemple.fr")).subject
    async with identity_db.transaction(CAISSE) as tx:
        ended = await tx.fetchrow(
            "SELECT tries, last_error, parameters FROM mail_queue WHERE failed_at IS NOT NULL"
        )
    assert ended is not None
    assert tuple(ended) == (5, "KeyError", None)


async def test_two_couriers_send_each_mail_once(post: Post, identity_db: Database, clock: HeldClock) -> None:
    for n in range(30):
        await ask(identity_db, post.mail, clock, f"many{n}@exemple.fr")
    await asyncio.gather(*(post.deliver() for _ in range(3)))
    assert len(post.mailbox.newest()) == 30


async def test_a_courier_that_died_frees_its_mails(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "leased@exemple.fr")
    async with identity_db.transaction(CAISSE) as tx:
        await tx.execute("UPDATE mail_queue SET leased_until = $1", clock() + timedelta(minutes=2))
    await post.deliver()
    assert post.mailbox.newest("leased@exemple.fr") == []
    clock.forward(minutes=2)
    assert (await post.newest("leased@exemple.fr")).subject


async def test_without_a_mail_server_no_request_waits(
    visitor: Visitor, identity_db: Database, identity_relay: Database, clock: HeldClock, post: Post
) -> None:
    await a_person(identity_db, clock, "nosmtp@exemple.fr")
    await visitor.get(f"/{CAISSE}/forgotten-password")
    answer = await visitor.post(f"/{CAISSE}/forgotten-password", email="nosmtp@exemple.fr")
    assert answer.status_code == 200
    assert (await row_of(identity_db))["tries"] == 0, "the request itself wrote to the mail server"
    dead = MailSettings(port=1)
    await send_what_is_due(identity_relay, post.mail, dead, clock)
    assert (await row_of(identity_db))["tries"] == 1
    clock.forward(seconds=5)
    assert "nouveau mot de passe" in (await post.newest("nosmtp@exemple.fr")).subject


async def test_the_courier_stops_when_told(identity_relay: Database, clock: HeldClock, post: Post) -> None:
    stop = asyncio.Event()
    courier = asyncio.create_task(run_courier(identity_relay, post.mail, post.settings, clock, stop))
    stop.set()
    await asyncio.wait_for(courier, 5)


async def test_what_waits_is_a_figure(
    post: Post, identity_db: Database, identity_relay: Database, clock: HeldClock
) -> None:
    for n in range(3):
        await ask(identity_db, post.mail, clock, f"waits{n}@exemple.fr")
    await note_what_waits(identity_relay)
    assert REGISTRY.get_sample_value("espace_mail_waiting") == 3
    await post.deliver()
    await note_what_waits(identity_relay)
    assert REGISTRY.get_sample_value("espace_mail_waiting") == 0


async def test_asked_for_mails_are_one_a_minute_five_an_hour_ten_a_day(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    sent = 0
    for _ in range(60 * 30):
        try:
            await ask(identity_db, post.mail, clock, "limit@exemple.fr", limited=True)
            sent += 1
        except MailLimitReached:
            pass
        clock.forward(minutes=1)
        if sent == 10:
            break
    assert sent == 10
    with pytest.raises(MailLimitReached):
        await ask(identity_db, post.mail, clock, "limit@exemple.fr", limited=True)


async def test_one_firm_is_written_about_as_seldom_as_one_address(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "one@exemple.fr", limited=True, about="73282932000074")
    with pytest.raises(MailLimitReached):
        await ask(identity_db, post.mail, clock, "two@exemple.fr", limited=True, about="73282932000074")


async def test_asks_at_the_same_instant_count_each_other(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    asks = [ask(identity_db, post.mail, clock, "same@exemple.fr", limited=True) for _ in range(8)]
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_no_value_becomes_markup_or_a_header(name: str) -> None:
    message = MESSAGES[name]
    hostile = "L'Entreprise <b>d'à côté</b> & fils\r\nBcc: x@y.z 🧱"
    values = dict.fromkeys(message.needs, hostile) | dict.fromkeys(
        message.needs & {"deadline", "at"}, "2026-11-23T22:00:00+00:00"
    )
    values |= dict.fromkeys(message.needs & {"ends_on"}, "2026-12-31")
    values |= dict.fromkeys(message.needs & {"link"}, LINK)
    written = write(message, Sender("Caisse & Cie", "a@b.fr", "01", "c@d.fr"), values)
    assert "<b>d" not in written.html
    assert "\n" not in written.subject
    assert "\nBcc:" not in written.text
    assert 'lang="fr"' in written.html


def composed(keys: KeyEncryption, clock: HeldClock, *, firm: str, caisse: str) -> EmailMessage:
    row_id = uuid4()
    values = {"firm": firm, "link": LINK, "deadline": clock().isoformat()}
    letter = msgspec.json.encode(Letter("rose@exemple.fr", values))
    sealed = keys.seal(PURPOSE, letter, context=row_id.bytes)
    leased = LeasedMail(
        row_id, CAISSE, "already_known", "fr", "<m@espace>", parameters=sealed, created_at=clock(), tries=1
    )
    return compose(Mail(keys), Sender(caisse, "a@b.fr", "01", "c@d.fr"), leased)


def test_a_name_that_reads_as_an_encoded_word_makes_no_header(keys: KeyEncryption, clock: HeldClock) -> None:
    hostile = "=?utf-8?q?A=0D=0AReply-To=3A_thief=40x.fr?="
    message = composed(keys, clock, firm=hostile, caisse=hostile)
    heads = message.as_bytes().partition(b"\n\n")[0].splitlines()
    assert not [line for line in heads if line.lower().startswith(b"reply-to")]
    assert "thief@" not in str(message["Subject"]) + str(message["From"])


def test_a_template_refuses_values_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="missing or unknown"):
        MESSAGES["password_reset"].check({"link": "x"})


async def test_links_asked_by_a_stranger_do_not_keep_the_owner_from_a_sign_in_code(
    post: Post, identity_db: Database, clock: HeldClock
) -> None:
    await ask(identity_db, post.mail, clock, "owner@exemple.fr", limited=True)
    async with identity_db.transaction(CAISSE) as tx:
        values = {"code": "012345", "deadline": clock().isoformat()}
        await post.mail.enqueue(
            tx, template="step_up_code", to="owner@exemple.fr", values=values, now=clock(), limited=True
        )
