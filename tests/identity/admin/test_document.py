"""The document of the administration API: served to anyone, and true to the handlers."""

from typing import Any

from jsonschema_rs import validator_for

from services.identity.admin.routes import HANDLERS
from tests.openid.party import Issuer

REFUSALS_OF_ALL = {"400", "401", "403", "404", "503"}


async def fetched(issuer: Issuer) -> dict[str, Any]:
    async with issuer.http() as http:
        answer = await http.get(f"/{issuer.caisse}/admin/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


async def test_each_caisse_has_its_own_address_in_it(issuer: Issuer, elsewhere: Issuer) -> None:
    here, there = await fetched(issuer), await fetched(elsewhere)
    async with issuer.http() as http:
        nowhere = await http.get("/nulle-part/admin/openapi.json")

    assert here["openapi"].startswith("3.1")
    assert here["servers"] == [{"url": issuer.url}]
    assert there["servers"] == [{"url": elsewhere.url}]
    assert here["paths"] == there["paths"]
    assert nowhere.status_code == 404


async def test_it_tells_every_route_its_right_and_its_refusals(issuer: Issuer) -> None:
    document = await fetched(issuer)
    told = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    served = {
        (method, path.replace(":str", "")): handler
        for handler in HANDLERS
        for path in handler.paths
        for method in handler.http_methods
    }

    assert told.keys() == served.keys()
    for key, operation in told.items():
        assert operation["security"] == [{"DPoP": list(served[key].opt["access"].any_of)}]
        assert operation["responses"].keys() >= REFUSALS_OF_ALL
        assert ("413" in operation["responses"]) == ("requestBody" in operation)
        assert operation["description"]
    assert document["components"]["securitySchemes"]["DPoP"]["scheme"] == "DPoP"


async def test_bodies_are_closed_and_its_schemas_are_schemas(issuer: Issuer) -> None:
    document = await fetched(issuer)
    schemas = document["components"]["schemas"]
    closed = {name for name, schema in schemas.items() if schema.get("additionalProperties") is False}

    assert closed == {
        "CeilingWanted",
        "ClientMetadata",
        "ClientWanted",
        "InvitationWanted",
        "Jwks",
        "KeyWanted",
        "LetterPairWanted",
        "MachineWanted",
        "RevocationWanted",
        "RotationWanted",
        "SponsorWanted",
    }
    for name in schemas:
        validator_for({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


async def test_it_names_no_secret_of_the_service(issuer: Issuer) -> None:
    """Dependencies, bookkeeping and other routes stay out of it."""
    document = await fetched(issuer)

    names = {
        p["name"]
        for path in document["paths"].values()
        for op in path.values()
        for p in op.get("parameters", [])
    }
    assert names == {"client_id", "kid", "machine", "person", "sid", "Idempotency-Key"}
    assert all(path.startswith("/admin/") for path in document["paths"])
