"""A QR code as SVG inside the page: the secret travels in no address and no file."""

from markupsafe import Markup

QUIET = 4
"""Modules of white around, as ISO/IEC 18004 asks."""


def qr_svg(text: str) -> Markup:
    """One `<svg>` of a few hundred squares; drawn in the text's colour on white, sized by the style sheet."""
    # Imported where a second factor is set up, which is rare.
    from zint import Symbol, Symbology

    symbol = Symbol()
    symbol.symbology = Symbology.QRCODE
    symbol.encode(text)
    symbol.buffer_vector()
    assert symbol.vector is not None
    squares = [(round(r.x), round(r.y), round(r.width), round(r.height)) for r in symbol.vector.rectangles]
    unit = min(height for *_, height in squares)
    side = max(x + width for x, _, width, _ in squares) // unit
    path = "".join(
        f"M{x // unit} {y // unit}h{w // unit}v{h // unit}h-{w // unit}z" for x, y, w, h in squares
    )
    box = f"{-QUIET} {-QUIET} {side + 2 * QUIET} {side + 2 * QUIET}"
    return Markup(
        '<svg class="qr" width="240" height="240" viewBox="{}" role="img" aria-label="QR" shape-rendering="crispEdges">'
        '<rect x="{}" y="{}" width="100%" height="100%" fill="#fff"/><path d="{}" fill="#000"/></svg>'
    ).format(box, -QUIET, -QUIET, path)
