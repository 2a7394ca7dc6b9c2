"""The canary: secrets are sent through every door of the logs, and none comes out."""

import subprocess
import sys

import pytest

CANARIES = {
    "password": "Tr0mpette-Bleue-du-Chantier",
    "e-mail": "jean.macon@example.fr",
    "e-mail in a form": "jean.macon%40example.fr",
    "access token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGhfMDEifQ.c2lnbmF0dXJl",
    "link token": "q7Jb0c-9XkWm2RzT4vYhLp8NsDfGaE5uB1oKiCjQxZw",
    "code confidentiel": "7KQX-M2RT-9VWB-H",
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
    from libs.common.runtime.logging import redact

    event = {
        "event": "first_connection.confirmed",
        "account_id": "0198f0f0-aaaa-7bbb-8ccc-dddddddddddd",
        "kid": "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG",
        "status_code": 422,
        "adherent": "adh_01J9ZX8V3T5RKQW2M7NB4CDEFG",
        "path": "/mediterranee/first-connection/letters",
    }
    assert redact(None, "info", dict(event)) == event
