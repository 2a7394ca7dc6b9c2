"""Text that no keyboard types is refused, never a defect of ours."""

import pytest

from libs.common.database.pool import Database
from libs.common.values.crockford import new_code
from tests.conftest import HeldClock
from tests.identity.sign_in.visitors import CAISSE, Visitor, a_person, sign_in

RIGHT = str(new_code(8)), str(new_code(12))
"""Two halves whose check characters agree: only then does a number reach the database."""

HOSTILE = ["\x00", "a\x00b", "\ufffe", "\u202e", "²", "9" * 1900, "' OR 1=1 --", "<script>alert(1)</script>"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
async def test_a_stranger_s_text_is_refused_and_never_a_defect(visitor: Visitor, text: str) -> None:
    base = f"/{CAISSE}"
    for path, fields in (
        ("sign-in", {"email": text, "password": text}),
        ("sign-in", {"email": "nobody@exemple.fr", "password": "x", "flow": text, "continue": text}),
        ("forgotten-password", {"email": text}),
        ("new-password", {"link": text, "new_password": text}),
        ("first-connection", {"kind": text, "letters": text, "caisse": text}),
        ("first-connection/letters", {"number": text, "identifiant": "P" * 9, "code_confidentiel": text}),
        (
            "first-connection/letters",
            {"number": text, "identifiant": RIGHT[0], "code_confidentiel": RIGHT[1]},
        ),
        ("first-connection/confirm", {"link": text, "password": text}),
        ("sign-in/second-factor", {"code": text}),
    ):
        answer = await visitor.post(f"{base}/{path}", **fields)
        assert answer.status_code < 500, (path, answer.status_code)
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
async def test_a_name_is_kept_escaped_or_refused(
    visitor: Visitor, identity_db: Database, clock: HeldClock, text: str
) -> None:
    email = f"name{abs(hash(text)) % 10_000}@exemple.fr"
    await a_person(identity_db, clock, email)
    await sign_in(visitor, email)
    answer = await visitor.post(f"/{CAISSE}/account/name", name=text)
    assert answer.status_code in (303, 400, 422)
    assert "<script>alert" not in (await visitor.get(f"/{CAISSE}/account/me")).text


@pytest.mark.parametrize("text", ["Jean\u202eneD", "\u2066Jean\u2069", "Jean\u200b Denis"], ids=ascii)
async def test_a_name_that_deceives_whoever_reads_it_is_refused(
    visitor: Visitor, identity_db: Database, clock: HeldClock, text: str
) -> None:
    """The firm reads it beside what was done for it."""
    email = f"deceives{abs(hash(text)) % 10_000}@exemple.fr"
    await a_person(identity_db, clock, email)
    await sign_in(visitor, email)
    assert (await visitor.post(f"/{CAISSE}/account/name", name=text)).status_code == 422
    assert text not in (await visitor.get(f"/{CAISSE}/account/me")).text
