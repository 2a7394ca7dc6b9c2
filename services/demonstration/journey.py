"""The leaflet's journey, step by step, as the people in it would walk it. Each step checks what it saw."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pyotp.totp import TOTP

from libs.common.access.service_client import DpopAuth, ask_issuer
from libs.common.access.signatures import SigningKey
from services.demonstration.cabinet_software import CabinetSoftware, Refused
from services.demonstration.visitor import NotAsShown, Page, Visitor

T = TypeVar("T")

CAISSE = "mediterranee"
OPERATOR = "operateur"
STEP_SECONDS = 30
_SYMBOL = "[0-9A-HJKMNP-TV-Z]"
PAPER_CODE = re.compile(
    rf"^{_SYMBOL}{{4}}(?:\s{{1,2}}{_SYMBOL}{{4}}){{1,2}}\s{{1,2}}{_SYMBOL}$", re.MULTILINE
)
"""What is printed in groups of four: the identifiant has nine characters, the code thirteen."""


class NotHeld(Exception):
    """A step did not end as the leaflet says; the message names what was seen."""


def hold(claim: bool, otherwise: str) -> None:
    if not claim:
        raise NotHeld(otherwise)


@dataclass
class Espace:
    """A running installation as its ready file describes it."""

    portal: str
    identity: str
    adherent: str
    documents: str
    mail: str
    demo: Mapping[str, Any]
    tls: Any = True

    @property
    def issuer(self) -> str:
        return f"{self.identity}/{CAISSE}"


@dataclass
class Journey:
    """What one step learns and a later one needs."""

    espace: Espace
    http: httpx.AsyncClient
    firm: Visitor
    collaborator: Visitor
    adherent_number: str = ""
    siret: str = ""
    identifiant: str = ""
    code_confidentiel: str = ""
    email: str = ""
    password: str = ""
    last_totp_step: int = 0
    firm_home: Page | None = None
    mandate_page: str = ""
    mandate: str = ""
    adherent: str = ""
    software: CabinetSoftware | None = None
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    attestation: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def cabinet(self) -> Mapping[str, Any]:
        """The account of the demonstration's first collaborator who may accept."""
        return next(a for a in self.espace.demo["accounts"] if a.get("role") == "owner")


# ── The steps ───────────────────────────────────────────────────────────────


async def receive_two_letters(j: Journey) -> dict[str, Any]:
    """The caisse makes provisional credentials; the post brings two letters, in two lots."""
    j.adherent_number, j.siret = await _fresh_adherent(j)
    operator = SigningKey.from_pem(j.espace.demo["clients"][OPERATOR]["private_key"])
    token = await _own_token(j, OPERATOR, operator, "letters.issue")
    made = await j.http.post(
        f"{j.espace.issuer}/admin/letter-pairs",
        json={"adherent_number": j.adherent_number},
        auth=DpopAuth(operator, token),
    )
    hold(made.status_code == 201, f"letters: {made.status_code} {made.text[:300]}")
    letters = await _letters_of(j)
    hold(len({letter["lot"] for letter in letters.values()}) == 2, "both letters came in one lot")
    j.identifiant = await _printed_code(j, letters["identifiant"]["text"], 9)
    j.code_confidentiel = await _printed_code(j, letters["code_confidentiel"]["text"], 13)
    return {
        "adherent_number": j.adherent_number,
        "letters": [letters[kind]["pdf"] for kind in sorted(letters)],
    }


async def open_the_account(j: Journey) -> dict[str, Any]:
    """From the sign-in page, the blue banner, the questions, the two letters, the e-mail, the password."""
    entry = await j.firm.open(f"{j.espace.portal}/{CAISSE}/sign-in")
    hold("/sign-in" in entry.url, f"no sign-in page at {entry.url}")
    questions = await j.firm.open(entry.link("Ouvrir mon espace"))
    page = await j.firm.fill(
        questions, questions.form_with("kind", "letters"), {"kind": "firm", "letters": "both"}
    )
    j.email = f"chef.{secrets.token_hex(4)}@entreprise.example"
    j.password = "quatre-echelles-" + secrets.token_hex(4)
    typed = {
        "number": j.siret,
        "identifiant": j.identifiant,
        "code-confidentiel": j.code_confidentiel.lower(),
    }
    page = await j.firm.fill(page, page.form_with("number"), typed)
    page = await j.firm.fill(
        page, page.form_with("email"), {"email": j.email, "name": "Jeanne Maçon-Ferrand"}
    )
    page = await j.firm.fill(page, page.form_with("password"), {"password": j.password})
    hold(page.says(j.email), f"the mailbox page does not name the address: {page.title} at {page.url}")
    return {"email": j.email, "address": page.url}


async def follow_the_link(j: Journey) -> dict[str, Any]:
    """The mailed link opens a page that changes nothing; its button does. The letters are dead from then on."""
    message = await _mail_to(j, j.email, "/first-connection/confirm")
    link = next(link for link in message["links"] if "/first-connection/confirm" in link)
    stranger = Visitor(tls=j.espace.tls)
    async with stranger:
        await stranger.open(link)  # a scanner reads the mail first
    page = await j.firm.open(link)
    page = await j.firm.fill(page, page.form_with("link"), {})
    hold(page.url.endswith("/first-connection/done"), f"not confirmed: {page.title} at {page.url}")
    async with Visitor(tls=j.espace.tls) as thief:
        again = await thief.open(f"{j.espace.issuer}/first-connection/letters")
        typed = {"number": j.siret, "identifiant": j.identifiant, "code-confidentiel": j.code_confidentiel}
        again = await thief.fill(again, again.form_with("number"), typed)
    hold(again.status == 422, f"the letters still open something: {again.status} {again.url}")
    return {"message": f"{j.espace.mail}/messages/{message['id']}"}


async def sign_in(j: Journey) -> dict[str, Any]:
    """Through OpenID Connect, from the portal, with the e-mail and the password just chosen."""
    page = await j.firm.open(f"{j.espace.portal}/{CAISSE}/sign-in")
    page = await j.firm.fill(
        page, page.form_with("email", "password"), {"email": j.email, "password": j.password}
    )
    hold(
        page.url.startswith(j.espace.portal) and page.status == 200, f"not at home: {page.status} {page.url}"
    )
    j.firm_home = page
    return {"address": page.url}


async def look_at_home(j: Journey) -> dict[str, Any]:
    """The firm, its establishments, its standing, its documents, its delegations."""
    page = await _until(
        lambda: j.firm.open(f"{j.espace.portal}/{CAISSE}"), lambda page: page.says("Vous êtes à jour")
    )
    for words in (j.adherent_number, "Ma situation", "Attestations", "Délégations", "Mon entreprise"):
        hold(page.says(words), f"« {words} » is not on the home page")
    j.firm_home = page
    return {"address": page.url}


async def delegate(j: Journey) -> dict[str, Any]:
    """ "Déléguer à mon cabinet comptable": a cabinet, a bundle, an end date, and a proof that it is really them."""
    page = await j.firm.open(f"{j.espace.issuer}/delegations")
    page = await j.firm.fill(page, page.form_with("cabinet"), {"cabinet": j.cabinet["cabinet_siren"]})
    hold(page.says(j.cabinet["cabinet_name"]), f"the cabinet is not shown back: {page.title} at {page.url}")
    page = await j.firm.fill(page, page.form_with("bundle"), {"bundle": "declare"})
    page = await _step_up(j, page)
    hold(
        page.says("Vérification"),
        f"nothing to check: {page.status} {page.title} at {page.url}: {page.text[:400]}",
    )
    drafted = next(form for form in page.forms if "/delegations/drafts/" in form.action)
    page = await j.firm.fill(page, drafted, {})
    hold("/receipts/" in page.url, f"no receipt: {page.status} {page.title} {page.url}")
    return {"address": page.url}


async def accept(j: Journey) -> dict[str, Any]:
    """A collaborator of the cabinet signs in, with a second factor, and accepts."""
    page = await j.collaborator.open(f"{j.espace.portal}/{CAISSE}/sign-in")
    account = {"email": j.cabinet["email"], "password": j.cabinet["password"]}
    page = await j.collaborator.fill(page, page.form_with("email", "password"), account)
    for _ in range(3):
        page = await j.collaborator.fill(page, page.form_with("code"), {"code": await _totp(j)})
        if page.url.startswith(j.espace.portal):
            break
        # An earlier story may have spent this value of the telephone: the next one comes within 30 s.
    hold(page.url.startswith(j.espace.portal), f"the collaborator is not in: {page.title} {page.url}")
    page = await j.collaborator.open(f"{j.espace.issuer}/cabinet")
    offers = [a for a, _ in page.links if re.search(r"/cabinet/mandates/mdt_[0-9A-Z]{26}$", a)]
    for address in offers:
        page = await j.collaborator.open(address)
        if page.says(j.adherent_number):
            page = await j.collaborator.fill(page, page.form_to("/accept"), {})
            j.mandate = address.rsplit("/", 1)[-1]
            return {"address": page.url, "mandate": j.mandate}
    raise NotAsShown(f"no offer of adhérent {j.adherent_number} among {len(offers)}")


async def act_for_the_firm(j: Journey) -> dict[str, Any]:
    """The cabinet's software exchanges the mandate for a delegated token, and the adhérent service answers."""
    key = SigningKey.from_pem(j.espace.demo["clients"]["logiciel-fontvieille"]["private_key"])
    j.software = CabinetSoftware(j.http, j.espace.issuer, key)
    page = await j.collaborator.open(await j.software.sign_in_address())
    if any(form.action.endswith("/consent") for form in page.forms):
        page = await j.collaborator.fill(page, page.form_to("/consent"), {}, button=("choice", "accept"))
    await j.software.signed_in(page.url)
    for name, base, scope in (
        ("adherent", j.espace.adherent, "declaration.read attestation.read"),
        ("documents", j.espace.documents, "attestation.read attestation.request"),
    ):
        granted = await j.software.act_for(j.mandate, f"{base}/{CAISSE}", scope)
        j.tokens[name] = granted["access_token"]
        hold(granted["token_type"] == "DPoP" and granted["expires_in"] <= 300, f"{name}: {sorted(granted)}")
        detail = granted["authorization_details"][0]
        hold(detail["mandate"] == j.mandate and detail["ver"] >= 1, f"{name}: {detail}")
    client = next(
        c for c in (await j.software.portfolio(j.cabinet["cabinet"]))["clients"] if c["id"] == j.mandate
    )
    j.adherent = client["adherent_id"]
    standing = await j.software.call("GET", f"{_firm(j, 'adherent')}/standing", j.tokens["adherent"])
    hold(standing.status_code == 200 and standing.json()["is_up_to_date"], f"standing: {standing.text[:300]}")
    return {"adherent": j.adherent, "mandate": j.mandate}


async def obtain_an_attestation(j: Journey) -> dict[str, Any]:
    """Issued because the firm is up to date; the same request key gives the same attestation."""
    assert j.software is not None
    key = secrets.token_urlsafe(16)
    answers = [
        await j.software.call(
            "POST", f"{_firm(j, 'documents')}/attestations", j.tokens["documents"],
            json={"kind": "up_to_date"}, headers={"Idempotency-Key": key},
        )
        for _ in range(2)
    ]  # fmt: skip
    hold(answers[0].status_code == 201, f"{answers[0].status_code} {answers[0].text[:300]}")
    j.attestation = answers[0].json()
    hold(answers[1].json()["id"] == j.attestation["id"], "one key gave two attestations")
    paper = await j.software.call("GET", j.attestation["file_url"], j.tokens["documents"])
    hold(paper.status_code == 200 and paper.content.startswith(b"%PDF-"), f"no PDF: {paper.status_code}")
    hold(b"/ByteRange" in paper.content, "the PDF has no seal")
    home = await _until(
        lambda: j.firm.open(f"{j.espace.portal}/{CAISSE}"), lambda page: page.says(j.attestation["number"])
    )
    hold(home.says("Fontvieille") or home.says(j.cabinet["name"]), "the firm is not told who acted")
    return {"number": j.attestation["number"], "file": j.attestation["file_url"], "bytes": len(paper.content)}


async def verify_in_public(j: Journey) -> dict[str, Any]:
    """Anybody checks the code, without an account."""
    async with Visitor(tls=j.espace.tls) as buyer:
        page = await buyer.open(f"{j.espace.documents}/{CAISSE}/verification")
        page = await buyer.fill(page, page.form_with("code"), {"code": j.attestation["verification_code"]})
        hold(page.says(j.attestation["number"]), f"the number is not shown: {page.title} at {page.url}")
        forged = await buyer.open(f"{j.espace.documents}/{CAISSE}/verification")
        forged = await buyer.fill(forged, forged.form_with("code"), {"code": "0000 0000 0000 0000 0"})
        hold(not forged.says(j.attestation["number"]), "a made-up code was believed")
    return {"address": j.attestation["verification_url"]}


async def revoke(j: Journey) -> dict[str, Any]:
    """The firm revokes: within a second both services refuse the token, and the exchange gives `invalid_grant`."""
    assert j.software is not None
    page = await j.firm.open(f"{j.espace.issuer}/delegations/{j.mandate}/revoke")
    page = await _step_up(j, page)
    form = page.form_to("/revoke")
    began = time.perf_counter()
    asking = asyncio.create_task(j.firm.fill(page, form, {}))
    page = await asking
    answered = time.perf_counter()
    hold(page.status == 200, f"not revoked: {page.status} {page.title} {page.url}")
    refused = await asyncio.gather(
        _refused_after(j, f"{_firm(j, 'adherent')}/standing", j.tokens["adherent"], answered),
        _refused_after(j, f"{_firm(j, 'documents')}/attestations", j.tokens["documents"], answered),
    )
    hold(max(refused) < 1.0, f"refused only after {max(refused):.2f} s")
    try:
        await j.software.act_for(j.mandate, f"{j.espace.adherent}/{CAISSE}", "declaration.read")
    except Refused as error:
        hold(str(error) == "invalid_grant", f"the exchange says {error}")
    else:
        raise NotHeld("a revoked mandate still gives tokens")
    return {
        "address": page.url,
        "revocation_ms": round((answered - began) * 1000),
        "refused_after_ms": {"adherent": round(refused[0] * 1000), "documents": round(refused[1] * 1000)},
    }


# ── What several steps do ───────────────────────────────────────────────────


def _firm(j: Journey, service: str) -> str:
    base = j.espace.adherent if service == "adherent" else j.espace.documents
    return f"{base}/{CAISSE}/adherents/{j.adherent}"


async def _fresh_adherent(j: Journey) -> tuple[str, str]:
    """An adhérent that is up to date and has had no letter yet."""
    lots = (await j.http.get(f"{j.espace.mail}/letters")).json()
    served = {page["adherent_number"] for lot in lots for page in lot["pages"]}
    for one in j.espace.demo["fresh_adherents"]:
        if one["adherent_number"] not in served:
            return one["adherent_number"], one["siret"]
    raise NotHeld("every adhérent of the demonstration has had its letters: start from an empty data folder")


async def _own_token(j: Journey, client_id: str, key: SigningKey, scope: str) -> str:
    answer = await ask_issuer(
        j.http, f"{j.espace.issuer}/token",
        {"grant_type": "client_credentials", "scope": scope, "resource": j.espace.issuer},
        issuer=j.espace.issuer, client_id=client_id, key=key, dpop_key=key,
    )  # fmt: skip
    hold(answer.status_code == 200, f"{client_id}: {answer.status_code} {answer.text[:200]}")
    return answer.json()["access_token"]


async def _letters_of(j: Journey) -> dict[str, dict[str, Any]]:
    async def look() -> dict[str, dict[str, Any]]:
        lots = (
            await j.http.get(f"{j.espace.mail}/letters", params={"adherent_number": j.adherent_number})
        ).json()
        return {
            page["kind"]: {"lot": lot["lot"], "pdf": _at(j, page["pdf"]), "text": _at(j, page["text"])}
            for lot in reversed(lots)
            for page in lot["pages"]
        }

    return await _until(look, lambda found: {"identifiant", "code_confidentiel"} <= found.keys())


def _at(j: Journey, path: str) -> str:
    return path if path.startswith("http") else j.espace.mail + path


async def _printed_code(j: Journey, address: str, length: int) -> str:
    text = (await j.http.get(address)).json()["text"]
    for match in PAPER_CODE.findall(text.replace("\r", "")):
        if len("".join(match.split())) == length:
            return match
    raise NotAsShown(f"no code of {length} characters in the letter at {address}")


async def _mail_to(j: Journey, email: str, link: str) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        found: list[dict[str, Any]] = (
            await j.http.get(f"{j.espace.mail}/messages", params={"to": email})
        ).json()
        nothing: dict[str, Any] = {}
        return next((message for message in found if link in message["text"]), nothing)

    return await _until(look, bool)


async def _step_up(j: Journey, page: Page) -> Page:
    """Prove it again where the page asks: the password, then the code that the mail brings."""
    if "/step-up" not in page.url:
        return page
    page = await j.firm.fill(page, page.form_with("password"), {"password": j.password})
    if not any("code" in form.names for form in page.forms):
        return page

    async def look() -> str:
        found = (await j.http.get(f"{j.espace.mail}/messages", params={"to": j.email})).json()
        codes = [
            re.search(r"\b(\d{3})[ \u00a0\u202f]?(\d{3})\b", m["text"])
            for m in found
            if "/first-connection/" not in m["text"]
        ]
        return next(("".join(code.groups()) for code in codes if code), "")

    return await j.firm.fill(page, page.form_with("code"), {"code": await _until(look, bool)})


async def _totp(j: Journey) -> str:
    """The value the collaborator's telephone shows; each works once, so a second sign-in waits for the next."""
    used_until = (j.last_totp_step + 1) * STEP_SECONDS
    await asyncio.sleep(max(0.0, used_until - time.time()))
    j.last_totp_step = int(time.time()) // STEP_SECONDS
    return TOTP(j.cabinet["totp_secret"]).at(j.last_totp_step * STEP_SECONDS)


async def _refused_after(j: Journey, url: str, token: str, since: float) -> float:
    assert j.software is not None
    while time.perf_counter() - since < 5:
        answer = await j.software.call("GET", url, token)
        if answer.status_code in (401, 403):
            return time.perf_counter() - since
    raise NotHeld(f"{urlsplit(url).netloc} still believes the revoked token after 5 s")


async def _until(look: Callable[[], Awaitable[T]], is_good: Callable[[T], Any], seconds: float = 20.0) -> T:
    """Look until it is good: facts and mails travel in their own time."""
    deadline = time.perf_counter() + seconds
    while True:
        seen = await look()
        if is_good(seen):
            return seen
        if time.perf_counter() > deadline:
            shown = (
                f"{seen.title} at {seen.url}: {seen.text[:600]}"
                if isinstance(seen, Page)
                else repr(seen)[:300]
            )
            raise NotHeld(f"not seen within {seconds:.0f} s; last: {shown}")
        await asyncio.sleep(0.1)
