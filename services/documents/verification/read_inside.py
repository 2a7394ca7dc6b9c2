"""The payload carried inside a sealed file: what it attests, for whoever reads it without us."""

from io import BytesIO
from typing import Any, cast

import msgspec
from pyhanko.pdf_utils.reader import PdfFileReader

from services.documents.attestations.payload import Payload, read_payload


def read_inside(content: bytes) -> Payload | None:
    """The attached payload of a file whose seal was verified; None when there is none we can read."""
    root = cast(Any, PdfFileReader(BytesIO(content), strict=True).root)
    try:
        names = list(root["/Names"]["/EmbeddedFiles"]["/Names"])
        attached = [entry.get_object()["/EF"]["/F"].data for entry in names[1::2]]
        return read_payload(attached[0])
    except (KeyError, IndexError, msgspec.MsgspecError):
        return None
