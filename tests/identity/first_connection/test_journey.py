"""From two letters to an open space, page by page, as a mason lives it."""

from litestar import Litestar

from libs.common.database.pool import Database
from services.identity.letters.paper_secret import PaperSecrets
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import (
    CAISSE,
    GOOD_PASSWORD,
    Post,
    Visitor,
    a_firm,
    link_in,
    sign_in,
    title,
    to_the_mailbox,
    told,
)

BASE = f"/{CAISSE}/first-connection"


async def test_two_letters_an_address_and_a_password_open_a_space(
    visitor: Visitor, identity_db: Database, paper: PaperSecrets, post: Post, clock: HeldClock
) -> None:
    firm = await a_firm(identity_db, paper, clock)
    questions = await visitor.get(BASE)
    assert "Quelques questions" in told(questions)

    letters = await visitor.follow(await visitor.post(BASE, kind="firm", letters="both", caisse=CAISSE))
    assert title(letters).startswith("Vos deux courriers")
    email = await visitor.follow(
        await visitor.post(
            f"{BASE}/letters",
            number=firm.siret[:9] + " " + firm.siret[9:],
            identifiant=firm.identifiant.lower()[:4] + "-" + firm.identifiant[4:],
            code_confidentiel=" ".join(firm.code_confidentiel),
        )
    )
    assert "Maçonnerie Fabre" in told(email)
    await visitor.follow(await visitor.post(f"{BASE}/email", email="Fabre@Exemple.fr", name="Rose Fabre"))
    mailbox = await visitor.follow(await visitor.post(f"{BASE}/password", password=GOOD_PASSWORD))
    assert "Fabre@exemple.fr" in told(mailbox)

    message = await post.newest("Fabre@exemple.fr")
    link = link_in(message, "/confirm?link=")
    opened = await visitor.get(link)
    assert "Confirmer mon adresse" in told(opened)
    assert 'type="password"' not in opened.text
    done = await visitor.follow(await visitor.post(f"{BASE}/confirm", link=link.partition("link=")[2]))
    assert "C’est fait" in told(done)

    signed_in = await sign_in(visitor, "fabre@exemple.fr")
    assert signed_in.headers["location"] == f"https://portal.example.test/{CAISSE}"
    me = await visitor.get(f"/{CAISSE}/account/me")
    assert "Rose Fabre" in told(me)
    assert "Maçonnerie Fabre" in told(me)


async def test_from_then_on_the_letters_are_dead(
    app: Litestar, identity_db: Database, paper: PaperSecrets, post: Post, clock: HeldClock
) -> None:
    firm = await a_firm(identity_db, paper, clock)
    first = Visitor(app)
    await to_the_mailbox(first, firm, "mort@exemple.fr")
    link = link_in(await post.newest("mort@exemple.fr"), "/confirm?link=")
    await first.get(link)
    await first.post(f"{BASE}/confirm", link=link.partition("link=")[2])

    again = Visitor(app)
    await again.get(f"{BASE}/letters")
    refused = await again.post(
        f"{BASE}/letters",
        number=firm.siret,
        identifiant=firm.identifiant,
        code_confidentiel=firm.code_confidentiel,
    )
    assert refused.status_code == 422
    assert "ne vont pas ensemble" in told(refused)
