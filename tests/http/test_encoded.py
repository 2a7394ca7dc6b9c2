"""The cookies of a request, as the browser that sent them keeps them apart."""

import pytest

from libs.common.http.encoded import MOST_OF_A_QUERY, cookies_of, pairs_of
from libs.common.http.json_bodies import StrictRequest

OURS = "__Host-espace-browser"


def test_cookies_are_read_by_name() -> None:
    said = cookies_of([b"a=1; __Host-espace-browser=abc=; b=2", b"\tc = 3 "])
    assert said == {"a": "1", OURS: "abc=", "b": "2", "c": "3"}


@pytest.mark.parametrize("blank", [b"\xa0", b"\x85", b"\x0b", b"\x0c", b"\x1f", b"\xe2\x80\x80", b"\xc2\xa0"])
def test_a_name_that_only_looks_like_ours_is_another(blank: bytes) -> None:
    """A browser lets a sibling host set it: to it, it has no prefix (RFC 6265bis §4.1.3)."""
    said = cookies_of([b"%s__Host-espace-browser=theirs" % blank])
    assert OURS not in said


@pytest.mark.parametrize(
    "said", [b"%s=ours; %s=theirs", b"%s=theirs; %s=ours", b"%s=ours; =x; %s=theirs", b"%s=ours;%s"]
)
def test_of_a_name_given_twice_neither_counts(said: bytes) -> None:
    assert OURS not in cookies_of([said % (OURS.encode(), OURS.encode())])
    assert OURS not in cookies_of(said.replace(b"%s", OURS.encode()).split(b";"))


def test_fields_keep_their_order_and_their_blanks() -> None:
    assert pairs_of(b"b=%20x&a&b=&c=%C3%A9") == (("b", " x"), ("a", ""), ("b", ""), ("c", "é"))


def test_of_a_query_without_end_the_beginning_is_read() -> None:
    """The framework remembers what it makes of it for a handler's arguments."""
    query = b"&".join(b"%x=" % name for name in range(5000))
    request = StrictRequest({"type": "http", "query_string": query, "headers": [], "state": {}})  # type: ignore[typeddict-item]
    assert list(request.query_params) == [f"{name:x}" for name in range(MOST_OF_A_QUERY)]
