"""The slow hash: as many at once as cores, a bounded queue, then an honest page."""

import asyncio
import threading

from litestar import Litestar

from services.identity.sign_in.password import Passwords, TooManySignIns
from tests.identity.sign_in.visitors import CAISSE, GOOD_PASSWORD, Visitor, told


async def test_beyond_the_queue_one_is_told_to_come_back() -> None:
    passwords = Passwords(cores=1, waiting_per_core=2)
    answers = await asyncio.gather(*(passwords.hash("x" * 15) for _ in range(8)), return_exceptions=True)
    assert [type(answer) for answer in answers].count(str) == 3
    assert [type(answer) for answer in answers].count(TooManySignIns) == 5
    assert await passwords.verify(await passwords.hash(GOOD_PASSWORD), GOOD_PASSWORD)
    passwords.close()


async def test_nobody_there_is_checked_all_the_same() -> None:
    passwords = Passwords()
    assert await passwords.verify(None, GOOD_PASSWORD) is False
    assert await passwords.verify("not a hash at all", GOOD_PASSWORD) is False
    passwords.close()


async def test_when_the_queue_is_full_the_page_says_so_and_keeps_what_was_typed(app: Litestar) -> None:
    visitor = Visitor(app)
    await visitor.get(f"/{CAISSE}/sign-in")
    passwords: Passwords = await app.dependencies["passwords"].dependency()  # type: ignore[union-attr]
    doors = threading.Event()
    crowd = [asyncio.create_task(passwords._take_a_turn(doors.wait)) for _ in range(200)]  # pyright: ignore[reportPrivateUsage]
    answer = await visitor.post(f"/{CAISSE}/sign-in", email="waits@exemple.fr", password=GOOD_PASSWORD)
    doors.set()
    served = await asyncio.gather(*crowd, return_exceptions=True)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "Beaucoup de personnes se connectent" in told(answer)
    assert 'value="waits@exemple.fr"' in answer.text
    assert 0 < served.count(True) < 200
    later = await visitor.post(f"/{CAISSE}/sign-in", email="waits@exemple.fr", password=GOOD_PASSWORD)
    assert later.status_code == 422
