"""What is said of a file that was presented as an attestation; whoever reads it needs no PDF library."""

from typing import Literal

import msgspec

Verdict = Literal["genuine", "no_seal", "added_content", "altered", "unknown_issuer", "unreadable"]


class Examined(msgspec.Struct, frozen=True):
    """`genuine` comes with the digest that names the file."""

    verdict: Verdict
    byte_range_digest: str = ""
