import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.values.caisse_slug import InvalidCaisseSlug, parse_caisse_slug


@pytest.mark.parametrize("slug", ["mediterranee", "ile-de-france", "grand-ouest", "c2", "reunion974"])
def test_the_caisses_of_the_network(slug: str):
    assert parse_caisse_slug(slug) == slug


@pytest.mark.parametrize(
    "text",
    ["", "a", "Mediterranee", "méditerranée", "grand--ouest", "-ouest", "ouest-", "2c", "a.b", "a*", "a>", "a/b",
     "a b", "ouest\n", "authz", "static", "health", "x" * 41],
)  # fmt: skip
def test_whatever_could_leave_its_path_or_subject_is_refused(text: str):
    with pytest.raises(InvalidCaisseSlug):
        parse_caisse_slug(text)


@given(st.text())
def test_what_passes_is_one_token_of_a_subject(text: str):
    try:
        slug = parse_caisse_slug(text)
    except InvalidCaisseSlug:
        return
    assert slug.isascii()
    assert slug == slug.lower()
    assert not set(slug) & set(". */>%?#")
