"""What must not be seen: secrets in logs, differences in durations."""

import time

import pytest
from litestar import Litestar

from libs.common.database.pool import Database
from services.identity.letters.paper_secret import Half, PaperSecrets
from tests.conftest import HeldClock
from tests.identity.first_connection.activation import BASE, mailed_link, press
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
    """Interleaved, medians compared: a difference of half is far beyond the noise of two slow hashes skipped."""
    firm, visitor = await a_firm(identity_db, paper, clock), Visitor(app)
    await visitor.get(f"{BASE}/letters")
    durations: dict[str, list[float]] = {"unknown number": [], "wrong identifiant": []}
    for _ in range(15):
        for kind, number in (("unknown number", a_siret()), ("wrong identifiant", firm.siret)):
            identifiant, code = Half.IDENTIFIANT.draw(), Half.CODE_CONFIDENTIEL.draw()
            began = time.perf_counter()
            await visitor.post(
                f"{BASE}/letters", number=number, identifiant=identifiant, code_confidentiel=code
            )
            durations[kind].append(time.perf_counter() - began)
    medians = sorted(sorted(times)[len(times) // 2] for times in durations.values())
    assert medians[1] < medians[0] * 1.5
