"""Where a sign-in leads: three hundred addresses that are not ours, none of which is followed."""

from urllib.parse import quote, urljoin, urlsplit

import pytest

from libs.common.values.caisse_slug import CaisseSlug
from services.identity.sign_in.destination import parse_destination
from services.portal.session.sign_in import checked_return

CAISSE = CaisseSlug("mediterranee")
IDENTITY, PORTAL = "https://id.example.test", "https://portal.example.test"
SEEDS = [
    "https://evil.example", "//evil.example", "\\\\evil.example", "/\\evil.example", "///evil.example",
    "https:evil.example", "https:/evil.example", "javascript:alert(1)", "data:text/html,x", "/%2fevil.example",
    "/%5cevil.example", "/mediterranee/../../evil.example", "/mediterranee/..%2f..%2fevil.example",
    "/mediterranee//evil.example", "/mediterranee/%2f%2fevil.example", "/mediterranee@evil.example",
    "/mediterranee/@evil.example", ".evil.example", "@evil.example", ":80@evil.example", "/mediterranee.evil.example",
    "/mediterraneeX/", "/grand-ouest/account", "/mediterranee/\t//evil.example", "\t//evil.example",
    "\n//evil.example", "/mediterranee/account\r\nSet-Cookie: a=b", "https://id.example.test@evil.example",
    "https://id.example.test.evil.example", "http://id.example.test\\@evil.example", "//id.example.test@evil.example",
    "/mediterranee/account#//evil", "/mediterranee/account;//evil", "／／evil.example", "//evil。example",
    "/mediterranee/.", "/mediterranee/..", "/mediterranee/%2e%2e/x", "http:///evil.example", "/;/evil.example",
    "/mediterranee/account\x00//evil",
]  # fmt: skip


def _mutants() -> list[str]:
    every = set(SEEDS)
    for seed in SEEDS:
        every |= {
            quote(seed, safe=""),
            quote(quote(seed, safe=""), safe=""),
            f" {seed}",
            f"{seed} ",
            seed.upper(),
            seed.replace("/", "\\"),
            seed.replace("evil.example", "evil.example/mediterranee/x"),
        }
    return sorted(every)


def _lands_on(base: str, address: str) -> str:
    """As a browser reads it: backslashes are slashes, tabs and line ends nothing."""
    read = address.replace("\\", "/").replace("\t", "").replace("\n", "").replace("\r", "").strip()
    return urlsplit(urljoin(base + "/", read)).netloc


@pytest.mark.parametrize("mutant", _mutants(), ids=ascii)
def test_no_mutant_leads_away(mutant: str) -> None:
    asked = parse_destination(CAISSE, flow=mutant, path=mutant)
    address = asked.address(CAISSE, identity=IDENTITY, portal=PORTAL)
    assert _lands_on(IDENTITY, address) in ("id.example.test", "portal.example.test")
    assert "evil.example" not in address.partition("?")[0]

    back = checked_return(CAISSE, mutant)
    assert back == "/mediterranee" or back.startswith("/mediterranee/")
    assert _lands_on(PORTAL, back) == "portal.example.test"


def test_there_are_two_hundred_of_them() -> None:
    assert len(_mutants()) > 200
