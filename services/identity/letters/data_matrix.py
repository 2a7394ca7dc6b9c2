"""The square mark at the foot of a letter, for the inserting machine and for returned mail."""

from typing import NamedTuple

QUIET_ZONE = 2


class Matrix(NamedTuple):
    """A square of `width` × `width` grey bytes, row by row, its quiet zone included."""

    width: int
    pixels: list[int]


def data_matrix(text: str) -> Matrix:
    """ISO/IEC 16022, ECC 200; one byte a module."""
    from zint import Symbol, Symbology

    symbol = Symbol()
    symbol.symbology = Symbology.DATAMATRIX
    symbol.option_3 = 100  # squares only
    symbol.encode(text)
    encoded = symbol.encoded_data
    packed, stride = encoded.tobytes(), (encoded.shape or (0, 0))[1]
    modules = [
        [bool(packed[y * stride + x // 8] >> x % 8 & 1) for x in range(symbol.width)]
        for y in range(symbol.rows)
    ]
    width = symbol.width + 2 * QUIET_ZONE
    blank = [255] * width
    rows = [[255] * QUIET_ZONE + [0 if dark else 255 for dark in row] + [255] * QUIET_ZONE for row in modules]
    square = [*[blank] * QUIET_ZONE, *rows, *[blank] * QUIET_ZONE]
    return Matrix(width, [pixel for row in square for pixel in row])
