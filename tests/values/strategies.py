"""Values as people write them, for the properties of this folder."""

from hypothesis import strategies as st

from libs.common.values.crockford import ALPHABET, check_character
from libs.common.values.siret import LA_POSTE, luhn_digit


@st.composite
def sirens(draw: st.DrawFn) -> str:
    body = draw(st.text("0123456789", min_size=8, max_size=8))
    return body + luhn_digit(body)


@st.composite
def ordinary_sirets(draw: st.DrawFn) -> str:
    body = draw(sirens().filter(lambda siren: siren != LA_POSTE)) + draw(
        st.text("0123456789", min_size=4, max_size=4)
    )
    return body + luhn_digit(body)


@st.composite
def codes(draw: st.DrawFn, symbols: int) -> str:
    drawn = draw(st.text(ALPHABET, min_size=symbols, max_size=symbols))
    return drawn + check_character(drawn)
