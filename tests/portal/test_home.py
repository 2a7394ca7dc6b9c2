"""What an adhérent and a cabinet see once signed in, also when a service is away."""

from typing import Any

import pytest

from tests.portal.conftest import Visitor
from tests.portal.far_side import ADH, ADHERENT, ATT, DOCUMENTS, IDENTITY, MDT, PER, FarSide

STANDING = f"{ADHERENT}/mediterranee/adherents/{ADH}/standing"
LATE: dict[str, Any] = {
    "code": "statement_unpaid",
    "period": "2026-09",
    "remedy": "Réglez 1 234,56 € au titre de septembre 2026.",
    "amount_cents": 123456,
    "due_on": "2026-11-14",
}


async def signed_in(visitor: Visitor, far_side: FarSide, path: str = "/mediterranee") -> Any:
    await visitor.sign_in(far_side)
    return await visitor.get(path)


async def test_the_entry_lists_the_caisses(visitor: Visitor) -> None:
    page = await visitor.get("/")

    assert page.text.index("Caisse de la Méditerranée") < page.text.index("Caisse du Grand-Ouest")


async def test_an_unreadable_colour_shows_as_the_default(visitor: Visitor) -> None:
    page = await visitor.get("/grand-ouest")

    assert "/static/theme-0b4a6f.css" in page.text


async def test_an_unknown_caisse_is_a_page_that_does_not_exist(visitor: Visitor) -> None:
    page = await visitor.get("/atlantide")

    assert page.status_code == 404
    assert "Si vous avez recopié l’adresse" in page.text


async def test_a_firm_up_to_date_sees_it(visitor: Visitor, far_side: FarSide) -> None:
    page = await signed_in(visitor, far_side)

    assert page.status_code == 200
    assert "Vous êtes à jour" in page.text
    assert "Rien à faire pour l’instant" in page.text
    assert "732 829 320" in page.text.replace("\u00a0", " ")


async def test_what_is_late_comes_first_with_its_remedy_and_amount(
    visitor: Visitor, far_side: FarSide
) -> None:
    far_side.answers[STANDING] = {
        "is_up_to_date": False,
        "judged_at": "2026-11-23T20:00:00Z",
        "reasons": [LATE],
    }

    page = await signed_in(visitor, far_side)

    assert "Pas encore à jour" in page.text
    assert page.text.index("Réglez 1 234,56") < page.text.index("Ma situation")
    assert "1\u202f234,56\u00a0€" in page.text
    assert "septembre 2026" in page.text


@pytest.mark.parametrize("service", ["adherent", "documents"])
async def test_a_service_away_hides_its_part_alone(visitor: Visitor, far_side: FarSide, service: str) -> None:
    far_side.down.add(service)

    page = await signed_in(visitor, far_side)

    assert page.status_code == 200
    assert "ne répond pas pour l’instant" in page.text
    assert "Délégations" in page.text


async def test_what_the_firm_offered_is_not_for_the_firm_to_accept(
    visitor: Visitor, far_side: FarSide
) -> None:
    mandate = {"id": MDT, "cabinet_name": "Fiduciaire Provence", "family": "time_off"}
    address = f"{IDENTITY}/mediterranee/api/adherents/{ADH}/delegations"
    far_side.answers[address] = {"delegations": [{**mandate, "state": "offered"}]}
    page = await signed_in(visitor, far_side)
    assert "Proposée</strong>" in page.text and "À accepter" not in page.text

    far_side.answers[address] = {"delegations": [{**mandate, "state": "requested"}]}
    page = await visitor.get("/mediterranee")
    assert "À accepter</strong>" in page.text and "Demandée" not in page.text


async def test_each_service_gets_a_token_of_its_own_and_only_once(
    visitor: Visitor, far_side: FarSide
) -> None:
    await signed_in(visitor, far_side)
    await visitor.get("/mediterranee")

    for _, address, token in far_side.calls:
        assert address.startswith(token.split(".", 1)[1].rsplit(".", 1)[0])
    assert far_side.refreshes == 3


async def test_a_session_ended_by_identity_is_told_and_forgotten(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)
    far_side.session_over = True

    page = await visitor.get("/mediterranee")

    assert page.status_code == 401
    assert "Votre connexion a pris fin" in page.text
    assert "Espace sécurisé Entreprise" in (await visitor.get("/mediterranee")).text


async def test_one_click_gives_one_attestation(visitor: Visitor, far_side: FarSide) -> None:
    home = await signed_in(visitor, far_side)

    first = await visitor.press(home, "/mediterranee/attestations")
    second = await visitor.press(home, "/mediterranee/attestations")

    assert first.headers["location"] == second.headers["location"] == f"/mediterranee/attestations/{ATT}"
    assert len(set(far_side.idempotency_keys)) == 1
    page = await visitor.get(first.headers["location"])
    assert "7K3M\u00a0Q9TZ\u00a02X4W" in page.text
    assert f"{DOCUMENTS}/a/7K3MQ9TZ2X4W" in page.text


async def test_a_page_of_one_firm_asks_nothing_for_another(visitor: Visitor, far_side: FarSide) -> None:
    """In another tab the person signed in for another firm since: the page at hand still shows the former one."""
    home = await signed_in(visitor, far_side)

    answer = await visitor.press(
        home, "/mediterranee/attestations", adherent="adh_01JBM0000000000000000000B2"
    )

    assert (answer.status_code, answer.headers["location"]) == (303, "/mediterranee")
    assert far_side.idempotency_keys == []


async def test_the_file_comes_through_the_portal(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)

    answer = await visitor.get(f"/mediterranee/attestations/{ATT}/file")

    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content.startswith(b"%PDF")


async def test_a_refusal_says_period_amount_and_remedy(visitor: Visitor, far_side: FarSide) -> None:
    far_side.refuses_with = [LATE]
    home = await signed_in(visitor, far_side)

    page = await visitor.press(home, "/mediterranee/attestations")

    assert page.status_code == 409
    assert "septembre 2026" in page.text
    assert "Réglez 1 234,56\u00a0€" in page.text


async def test_a_form_of_another_site_does_nothing(visitor: Visitor, far_side: FarSide) -> None:
    await visitor.sign_in(far_side)

    refused = await visitor.post("/mediterranee/attestations", {}, **{"sec-fetch-site": "cross-site"})

    assert refused.status_code == 403
    assert far_side.idempotency_keys == []


async def test_who_did_what_names_the_collaborator(visitor: Visitor, far_side: FarSide) -> None:
    cabinet = "cab_01JBM0000000000000000000C1"
    far_side.answers[f"{DOCUMENTS}/mediterranee/adherents/{ADH}/acts"] = {
        "acts": [
            {"at": "2026-11-23T20:00:00Z", "action": "attestation.issued", "person": PER, "cabinet": cabinet}
        ]
    }
    far_side.answers[f"{IDENTITY}/mediterranee/api/adherents/{ADH}/names"] = {
        "names": {PER: "Élodie d’Aubigné", cabinet: "Fiduciaire Provence"}
    }

    page = await signed_in(visitor, far_side, "/mediterranee/activity")

    assert "Attestation délivrée" in page.text
    assert "Élodie d’Aubigné" in page.text
    assert "Fiduciaire Provence" in page.text


async def test_who_did_what_names_the_software_or_says_it_is_one(visitor: Visitor, far_side: FarSide) -> None:
    cabinet, known = "cab_01JBM0000000000000000000C1", "mch_01JBM0000000000000000000C1"
    far_side.answers[f"{DOCUMENTS}/mediterranee/adherents/{ADH}/acts"] = {
        "acts": [
            {
                "at": "2026-11-23T20:00:00Z",
                "action": "attestation.issued",
                "machine": machine,
                "cabinet": cabinet,
            }
            for machine in (known, "mch_01JBM0000000000000000000C2")
        ]
    }
    far_side.answers[f"{IDENTITY}/mediterranee/api/adherents/{ADH}/names"] = {
        "names": {known: "Paie & Co", cabinet: "Fiduciaire Provence"}
    }

    page = await signed_in(visitor, far_side, "/mediterranee/activity")

    assert "Paie &amp; Co, Fiduciaire Provence" in page.text
    assert "Un logiciel du cabinet, Fiduciaire Provence" in page.text
    assert "Un collaborateur" not in page.text


async def test_a_collaborator_lands_on_its_clients(visitor: Visitor, far_side: FarSide) -> None:
    far_side.become_cabinet()

    answer = await signed_in(visitor, far_side)

    assert answer.headers["location"] == "/mediterranee/clients"
    assert "Maçonnerie de l’Étang &amp; Œuvres" in (await visitor.get("/mediterranee/clients")).text


async def test_acting_for_a_client_is_written_on_the_page_and_uses_delegated_tokens(
    visitor: Visitor, far_side: FarSide
) -> None:
    far_side.become_cabinet()

    page = await signed_in(visitor, far_side, f"/mediterranee/clients/{MDT}")

    assert "Vous agissez pour" in page.text
    assert "732\u00a0829\u00a0320" in page.text
    used = [token for _, address, token in far_side.calls if address.startswith((ADHERENT, DOCUMENTS))]
    assert used
    assert all(token.startswith("delegated.") for token in used)


async def test_the_collaborator_obtains_the_attestation_of_the_client(
    visitor: Visitor, far_side: FarSide
) -> None:
    far_side.become_cabinet()
    page = await signed_in(visitor, far_side, f"/mediterranee/clients/{MDT}")

    answer = await visitor.press(page, f"/mediterranee/clients/{MDT}/attestations")
    shown = await visitor.get(answer.headers["location"])

    assert "Vous agissez pour" in shown.text
    assert "mediterranee-2026-000042" in shown.text


async def test_once_the_mandate_is_over_a_page_says_so_and_shows_nothing_of_the_firm(
    visitor: Visitor, far_side: FarSide
) -> None:
    far_side.become_cabinet()
    page = await signed_in(visitor, far_side, f"/mediterranee/clients/{MDT}")
    far_side.mandate_over = True

    shown = await visitor.get(f"/mediterranee/clients/{MDT}")
    posted = await visitor.press(page, f"/mediterranee/clients/{MDT}/attestations")

    for answer in (shown, posted):
        assert answer.status_code == 403
        assert "Vous ne pouvez plus agir" in answer.text
        assert "Maçonnerie" not in answer.text


@pytest.mark.parametrize("path", ["help", "accessibility", "legal", "privacy"])
@pytest.mark.parametrize("caisse", ["mediterranee", "-"])
async def test_the_pages_owed_to_every_visitor(visitor: Visitor, caisse: str, path: str) -> None:
    assert (await visitor.get(f"/{caisse}/{path}")).status_code == 200


@pytest.mark.parametrize("path", ["", "mediterranee", "mediterranee/help", "mediterranee/legal"])
async def test_a_telephone_number_stays_on_one_line(visitor: Visitor, path: str) -> None:
    page = await visitor.get(f"/{path}")

    assert "04\u00a091\u00a000\u00a000\u00a000" in page.text
    assert "04 91" not in page.text


async def test_pages_speak_english_to_those_who_ask(visitor: Visitor) -> None:
    page = await visitor.get("/mediterranee", **{"accept-language": "en-GB,en;q=0.9,fr;q=0.5"})

    assert 'lang="en"' in page.text
    assert "Your employer procedures" in page.text


async def test_the_style_is_named_by_its_content_and_kept_for_ever(visitor: Visitor) -> None:
    page = await visitor.get("/")
    address = page.text.split('rel="stylesheet" href="')[1].split('"')[0]

    answer = await visitor.get(address)

    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert (await visitor.get("/static/espace.css")).status_code == 404
    assert (await visitor.get("/static/theme-ffff00.css")).status_code == 404
