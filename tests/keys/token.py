"""A real PKCS#11 token to test against.

`ESPACE_PKCS11_MODULE` names a module (with `ESPACE_PKCS11_TOKEN` and `ESPACE_PKCS11_PIN`: a token that may be
written to). Else it is NSS's softoken, Mozilla's own module, which the npm package of Chromium brings along.
"""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11

from libs.common.runtime.settings import KeySettings
from tests.browser import chromium_libraries

NSS_TOKEN = "NSS Certificate DB"
NSS_NEEDS = ("libnspr4.so", "libplc4.so", "libplds4.so", "libnssutil3.so")


@dataclass(frozen=True)
class Token:
    """A token with its PIN set, and the environment in which another process finds it."""

    module: Path
    label: str
    pin: str
    environment: dict[str, str]

    def settings(self, **more: Any) -> KeySettings:
        said: dict[str, Any] = {
            "provider": "pkcs11",
            "pkcs11_module": self.module,
            "pkcs11_token": self.label,
            "pkcs11_pin": self.pin,
        }
        return KeySettings(**said | more)

    def generate(self, label: str, **template: bool) -> None:
        """A secret of the token as another tool would have made it."""
        said = {getattr(pkcs11.Attribute, name): value for name, value in template.items()}
        with self.opened() as session:
            session.generate_key(
                pkcs11.KeyType.GENERIC_SECRET, 256, label=label, store=True,
                template={pkcs11.Attribute.SIGN: True} | said,
            )  # fmt: skip

    def opened(self) -> Any:
        token = pkcs11.lib(str(self.module)).get_token(token_label=self.label)
        return token.open(rw=True, user_pin=self.pin)


def a_token(folder: Path) -> Token:
    """The token named by the environment, else a new one of NSS in `folder`. One a process: modules hold state."""
    if named := os.environ.get("ESPACE_PKCS11_MODULE"):
        return Token(
            Path(named), os.environ["ESPACE_PKCS11_TOKEN"], os.environ["ESPACE_PKCS11_PIN"], {**os.environ}
        )
    libraries = chromium_libraries()
    parameters = f"configDir='sql:{folder}'"
    # Read by the module when it starts; its neighbours are not where the linker looks.
    os.environ["NSS_LIB_PARAMS"] = parameters
    for name in NSS_NEEDS:
        ctypes.CDLL(str(libraries / name), mode=ctypes.RTLD_GLOBAL)
    token = Token(
        libraries / "libsoftokn3.so", NSS_TOKEN, "a-pin-of-the-tests",
        {**os.environ, "LD_LIBRARY_PATH": str(libraries), "NSS_LIB_PARAMS": parameters},
    )  # fmt: skip
    with pkcs11.lib(str(token.module)).get_token(token_label=NSS_TOKEN).open(rw=True, so_pin="") as session:
        session.init_pin(token.pin)
    return token
