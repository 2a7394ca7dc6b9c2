"""What must not be seen: secrets in logs, differences in work."""

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from services.identity.letters.paper_secret import Half, PaperSecrets
from tests.conftest import HeldClock
from tests.identity.first_connection.activation import BASE, mailed_link, press
from tests.identity.letters.hands import done_since, slow_hashes
from tests.identity.sign_in.visitors import CAISSE, GOOD_PASSWORD, Post, Visitor, a_firm, a_siret, sign_in


async def test_no_secret_reaches_a_log(
    app: Litestar,
    identity_db: Database,
    paper: PaperSecrets,
    post: Post,
    clock: HeldClock,
    capfd: pytest.CaptureFixture[str],
) -> None:
    firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
    await visitor.get(f"{BASE}/letters")
    wrong = Half.CODE_CONFIDENTIEL.draw()
    await visitor.post(
        f"{BASE}/letters", number=firm.siret, identifiant=firm.identifiant, code_confidentiel=wrong
    )
    link = await mailed_link(visitor, firm, "canary@exemple.fr", post)
    await visitor.get(f"{BASE}/confirm?link={link}")
    await press(Visitor(app), link, password="canary in the mine shaft")
    await press(visitor, link)
    await press(visitor, link)
    await sign_in(visitor, "canary@exemple.fr", "another canary, still wrong")
    await sign_in(visitor, "canary@exemple.fr")
    session = visitor.cookie(f"__Host-espace-{CAISSE}") or "no session"
    await visitor.get(f"/{CAISSE}/account/factor")
    await visitor.post(f"/{CAISSE}/step-up", password=GOOD_PASSWORD)
    await post.deliver()
    written = "".join(capfd.readouterr())
    assert "mail.sent" in written
    texts = " ".join(message.text for message in post.mailbox.newest("canary@exemple.fr"))
    codes = [word for word in texts.split() if word.isdigit() and len(word) in {4, 6}]
    for secret in (
        firm.identifiant,
        firm.code_confidentiel,
        wrong,
        link,
        session,
        GOOD_PASSWORD,
        "canary in the mine shaft",
        "another canary",
        "canary@exemple.fr",
        *(code for code in codes if len(code) == 6),
    ):
        assert secret not in written


async def test_known_and_unknown_numbers_cost_the_same_work(
    app: Litestar, identity_db: Database, paper: PaperSecrets, clock: HeldClock
) -> None:
    """Slow hashes are what a stopwatch would see; they are counted, for a busy machine has its own delays."""
    firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
    await visitor.get(f"{BASE}/letters")
    pages: set[int] = set()
    for number, identifiant in (
        (a_siret(), Half.IDENTIFIANT.draw()),
        (firm.siret, Half.IDENTIFIANT.draw()),
        (firm.siret, firm.identifiant),
    ):
        before = slow_hashes()
        answer = await visitor.post(
            f"{BASE}/letters",
            number=number,
            identifiant=identifiant,
            code_confidentiel=Half.CODE_CONFIDENTIEL.draw(),
        )
        pages.add(answer.status_code)
        assert done_since(before) == {"identifiant": 1, "code_confidentiel": 1}
    assert pages == {422}
