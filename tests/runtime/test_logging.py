"""The canary: secrets are sent through every door of the logs, and none comes out."""

import subprocess
import sys
import time

import pytest

from libs.common.runtime.logging import HIDDEN, LONGEST, PATTERNS, redact, redact_text

CANARIES = {
    "password": "Tr0mpette-Bleue-du-Chantier",
    "e-mail": "jean.macon@example.fr",
    "e-mail in a form": "jean.macon%40example.fr",
    "access token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGhfMDEifQ.c2lnbmF0dXJl",
    "link token": "q7Jb0c-9XkWm2RzT4vYhLp8NsDfGaE5uB1oKiCjQxZw",
    "code confidentiel": "7KQX-M2RT-9VWB-H",
    "verification code": "K7M2P9QXAB4T6WYZ3",
    "verification code as people type": "k7m2-p9qx-ab4t-6wyz-3",
    "authorization code": "SplxlOBeZQQYbYS6WxSbIA",
    "cookie": "__Host-espace-mediterranee=AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG",
    "database password": "Zx81SpectrumDeLaBase",
    "private key": "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg",
}

PROGRAM = """
import json, logging, sys, warnings
import structlog
from libs.common.runtime.logging import configure_logging
c = json.loads(sys.argv[1])
configure_logging("identity", "debug")
log = structlog.get_logger("libs.canary")
log.info("by.name", password=c["password"], email=c["e-mail"], link_token=c["link token"], code=c["authorization code"],
         cookie=c["cookie"], authorization="Bearer " + c["access token"], dsn=c["database password"])
log.info("nested", request={"headers": [["Cookie", c["cookie"]]]},
         form={"code_confidentiel": c["code confidentiel"]},
         address=f"/confirm?token={c['authorization code']}&x=1")
log.info("in.text", note=f"sent to {c['e-mail']} with {c['access token']}")
log.info(f"as the event itself {c['link token']} {c['code confidentiel']}")
log.info("request.refused", path="/a/" + c["verification code"])
log.info("request.refused", path="/a/" + c["verification code as people type"])
log.info("dsn", url=f"postgresql://identity_app:{c['database password']}@127.0.0.1/espace")
log.info("pem", text="-----BEGIN PRIVATE KEY-----\\n" + c["private key"] + "\\n-----END PRIVATE KEY-----")
logging.getLogger("asyncio").error("GET /callback?code=%s&state=%s", c["authorization code"], c["link token"])
logging.getLogger("libs.other").info("Authorization: DPoP %s", c["access token"])
warnings.warn("form " + c["e-mail in a form"])
try:
    raise ValueError(f"Key (email)=({c['e-mail']}) already exists. password={c['password']}")
except ValueError:
    log.exception("refused")
raise RuntimeError(f"Failing row contains (1, {c['e-mail']}, {c['password']}).")
"""


@pytest.fixture(scope="module")
def output():
    import json

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(CANARIES)], capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


def test_everything_was_logged(output):
    events = (
        "by.name",
        "nested",
        "in.text",
        "as the event itself",
        "GET /callback",
        "Authorization:",
        "refused",
    )
    assert [event for event in (*events, "process.crashed", "py.warnings") if event not in output] == []
    assert "Traceback" in output


@pytest.mark.parametrize("canary", CANARIES)
def test_no_canary_comes_out(output, canary):
    assert CANARIES[canary] not in output


def test_what_helps_an_operator_stays():
    event = {
        "event": "first_connection.confirmed",
        "account_id": "0198f0f0-aaaa-7bbb-8ccc-dddddddddddd",
        "kid": "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG",
        "status_code": 422,
        "adherent": "adh_01J9ZX8V3T5RKQW2M7NB4CDEFG",
        "path": "/mediterranee/first-connection/letters",
    }
    assert redact(None, "info", dict(event)) == event


SECRETS = [
    "Authorization: Bearer " + CANARIES["access token"],
    CANARIES["access token"],
    "x-" + CANARIES["access token"],
    CANARIES["e-mail"],
    CANARIES["e-mail in a form"],
    CANARIES["link token"],
    CANARIES["code confidentiel"] + "ABC",
    "?code=" + CANARIES["authorization code"],
    "postgresql://app:" + CANARIES["database password"] + "@127.0.0.1/espace",
    "-----BEGIN PRIVATE KEY-----\n" + CANARIES["private key"] + "\n-----END PRIVATE KEY-----",
    "Key (email)=(" + CANARIES["password"] + ") exists",
    "Failing row contains (1, " + CANARIES["password"] + ").",
    "eyJaaaaaaaa-",
    "contains (",
    "-----BEGIN a-----",
    "a@a.",
    "dpop  ",
]


def hostile(size: int) -> list[str]:
    """Texts made of the beginnings of secrets, over and over: what makes a pattern begin again and again."""
    starts = {secret[:length] for secret in SECRETS for length in (3, 4, 7, 11, 12, 13, 22, len(secret))}
    return [start * (size // len(start)) for start in sorted(starts)]


def seconds_for(pattern, text):
    def once():
        # This process's own time: a crowded machine makes no pattern slow.
        began = time.process_time()
        pattern.sub(HIDDEN, text)
        return time.process_time() - began

    first = once()
    return first if first < 0.05 else min(first, once(), once())


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:30])
def test_no_text_makes_a_pattern_slow(pattern):
    """Four times the text takes about four times as long; sixteen times would be the square."""
    for short, long in zip(hostile(16_384), hostile(65_536), strict=True):
        taken = seconds_for(pattern, long)
        assert taken < 0.05 or taken < 10 * seconds_for(pattern, short), (taken, long[:40])


def test_a_hostile_path_is_logged_at_once():
    path = "/mediterranee/adherents/" + "eyJaaaaaaaa-" * 5200
    began = time.process_time()
    logged = redact(None, "info", {"event": "request.refused", "path": path})["path"]
    assert time.process_time() - began < 0.1
    assert logged.startswith("/mediterranee/adherents/eyJaaaaaaaa-") and logged.endswith(
        f"[…+{len(path) - LONGEST}]"
    )
    assert len(logged) < LONGEST + 30


@pytest.mark.parametrize("canary", CANARIES)
def test_no_piece_of_a_secret_stands_before_the_cut(canary):
    """Wherever the cut falls in it, nothing of it is left, five characters included."""
    whole = {
        "password": "Failing row contains (1, {}",
        "verification code": " /a/{}",
        "verification code as people type": " /a/{}",
        "authorization code": "?code={}",
        "cookie": "cookie {}",
        "database password": "postgresql://app:{}@127.0.0.1/espace",
        "private key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    }.get(canary, " {}")
    secret = CANARIES[canary].removeprefix("__Host-espace-mediterranee=")
    form = whole.format(secret)
    for inside in range(1, len(form) + 1):
        text = "x " * LONGEST
        text = text[: LONGEST - inside] + form + text
        logged = redact_text(text)
        pieces = {secret[at : at + 5] for at in range(len(secret) - 4)}
        assert not [piece for piece in pieces if piece in logged], (inside, logged[-80:])


def test_a_trace_keeps_its_end():
    trace = "Traceback\n" + "  File somewhere\n" * 900 + f"ValueError: Key (email)=({CANARIES['e-mail']})"
    logged = redact(None, "error", {"event": "x", "exception": trace})["exception"]
    assert logged.endswith(f"ValueError: Key (email)={HIDDEN}")
