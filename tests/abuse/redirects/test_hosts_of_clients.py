"""The host of a client's address is one to a browser, to a person who reads it on the consent page, and to a policy."""

import pytest

from services.identity.openid.client_rules import InvalidClientMetadata, check_metadata
from services.identity.openid.clients import ClientMetadata

NO_HOSTS = [
    "client.example;sandbox", "client.example,x", "www.caisse.example%2f.evil.example", "%63lient.example",
    "www.caisse.example%E3%80%82evil.example", "www.caisse.example&.evil.example", "client.example'",
    "(client.example)", "client.example!", "$", "a=b", "+client.example", "~client.example",
]  # fmt: skip
HOSTS = [
    "client.example",
    "xn--clent-3va.example",
    "a_b.example",
    "[2001:db8::1]",
    "192.0.2.1",
    "client.example.",
]


def of_a_client(**changes: object) -> ClientMetadata:
    said = {"redirect_uris": ("https://client.example/cb",), **changes}
    return ClientMetadata(client_name="Logiciel", token_endpoint_auth_method="none", **said)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_host_is_refused_wherever_it_stands(host: str) -> None:
    uri = f"https://{host}/cb"
    for changes in ({"redirect_uris": (uri,)}, {"post_logout_redirect_uris": (uri,)}, {"tos_uri": uri}):
        with pytest.raises(InvalidClientMetadata):
            check_metadata(of_a_client(**changes))


@pytest.mark.parametrize("host", HOSTS)
def test_what_is_one_is_taken(host: str) -> None:
    check_metadata(
        of_a_client(redirect_uris=(f"https://{host}:8443/cb;v=1,2?a=%2f",), tos_uri=f"https://{host}")
    )
