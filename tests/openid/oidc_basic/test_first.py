from tests.openid.party import Issuer, claims_of, header_of


async def test_happy_flow(issuer: Issuer) -> None:
    client, who = await issuer.client(), await issuer.person()
    await who.sign_in()
    answer = await client.tokens(who, scope="openid email declaration.read", nonce="n1")
    print(answer)
    assert claims_of(answer["id_token"])["nonce"] == "n1"
    assert header_of(answer["access_token"])["typ"] == "at+jwt"
    info = await client.userinfo(answer["access_token"])
    print(info.text)
    assert info.json()["email"] == who.email
    again = await client.refresh(answer["refresh_token"], resource=issuer.adherent)
    assert again.json()["scope"] == "declaration.read", again.text
    for path in ("/.well-known/openid-configuration", "/jwks"):
        async with issuer.http() as http:
            r = await http.get(f"/{issuer.caisse}{path}")
            assert r.status_code == 200, r.text
    r = await client.post("/introspect", {"token": answer["access_token"]})
    assert r.json()["active"], r.text
    r = await client.post("/revoke", {"token": answer["access_token"]})
    assert r.status_code == 200
    r = await client.post("/introspect", {"token": answer["access_token"]})
    assert not r.json()["active"]
