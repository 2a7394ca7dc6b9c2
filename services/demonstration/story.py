"""`espace story`: the leaflet's journey, played over HTTP against a running Espace."""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import rich_click as click
from rich.console import Console

from services.demonstration import journey
from services.demonstration.cabinet_software import Refused
from services.demonstration.journey import Espace, Journey, NotHeld
from services.demonstration.visitor import NotAsShown, Visitor

NOT_HELD, NO_ESPACE = 1, 2


class Step(NamedTuple):
    name: str
    title: str
    walk: Callable[[Journey], Awaitable[dict[str, Any]]]


STEPS = (
    Step("letters", "Deux lettres arrivent, par deux courriers", journey.receive_two_letters),
    Step(
        "first_connection",
        "Première connexion : les deux lettres, l’adresse, le mot de passe",
        journey.open_the_account,
    ),
    Step(
        "email_link", "Le lien reçu confirme l’adresse ; les lettres ne servent plus", journey.follow_the_link
    ),
    Step("sign_in", "Connexion au portail, par OpenID Connect", journey.sign_in),
    Step("home", "L’accueil : l’entreprise, sa situation, ses documents", journey.look_at_home),
    Step("delegation", "Déléguer à mon cabinet comptable", journey.delegate),
    Step("acceptance", "Une collaboratrice du cabinet accepte", journey.accept),
    Step("delegated_call", "Le cabinet agit, avec un jeton délégué", journey.act_for_the_firm),
    Step("attestation", "Une attestation scellée est délivrée", journey.obtain_an_attestation),
    Step("verification", "Chacun la vérifie par son code", journey.verify_in_public),
    Step(
        "revocation",
        "L’entreprise révoque : les deux services refusent en moins d’une seconde",
        journey.revoke,
    ),
)


@click.command()
@click.option("--ready-file", type=click.Path(path_type=Path), default=Path("var/ready.json"), show_default=True,
              help="Le fichier qu’« espace up » écrit quand tout répond.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Répondre en JSON.")
def story(ready_file: Path, as_json: bool) -> None:
    """Jouer le parcours de la plaquette pour un nouvel adhérent.

    Codes de sortie : 0 chaque étape a tenu, 1 une étape n'a pas tenu, 2 aucun Espace ne répond.
    """
    try:
        espace = read_ready_file(ready_file)
    except (OSError, ValueError, KeyError) as error:
        sentence = (
            f"{ready_file} ne décrit pas un Espace en marche ({error}). Lancez « make up », puis recommencez."
        )
        click.echo(json.dumps({"ok": False, "error": sentence}, ensure_ascii=False) if as_json else sentence)
        sys.exit(NO_ESPACE)
    console = Console(quiet=as_json, highlight=False, soft_wrap=True)
    told = asyncio.run(play(espace, tell=lambda line: console.print(line)))
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    sys.exit(0 if told["ok"] else NOT_HELD)


def read_ready_file(path: Path) -> Espace:
    """Raises `OSError`, `ValueError` or `KeyError` when it is not the ready file of a demonstration."""
    ready = json.loads(path.read_text("utf-8"))
    tls: Any = ssl.create_default_context(cafile=ready["ca"]) if "ca" in ready else True
    addresses = {
        name: ready[name].rstrip("/") for name in ("portal", "identity", "adherent", "documents", "mail")
    }
    if not ready["demo"].get("accounts"):
        raise ValueError("demonstration absente : relancez sans --empty")
    return Espace(**addresses, demo=ready["demo"], tls=tls)


async def play(espace: Espace, *, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Walk every step until one does not hold; what each showed and how long it took."""
    told: list[dict[str, Any]] = []
    began = time.perf_counter()
    async with (
        httpx.AsyncClient(verify=espace.tls, timeout=15, trust_env=False) as http,
        Visitor(tls=espace.tls) as firm,
        Visitor(tls=espace.tls, stop_at="https://logiciel.") as collaborator,
    ):
        walked = Journey(espace, http, firm, collaborator)
        for step in STEPS:
            since = time.perf_counter()
            line: dict[str, Any] = {"name": step.name, "title": step.title, "ok": True}
            try:
                line.update(await step.walk(walked))
            except (NotHeld, NotAsShown, Refused, httpx.HTTPError, StopIteration, KeyError) as error:
                line.update(ok=False, error=f"{type(error).__name__}: {error}")
            line["ms"] = round((time.perf_counter() - since) * 1000)
            told.append(line)
            tell(f"{'✓' if line['ok'] else '✗'} {step.title} [dim]{line['ms']} ms[/]")
            if not line["ok"]:
                tell(f"  {line['error']}")
                break
    ok = all(line["ok"] for line in told) and len(told) == len(STEPS)
    return {"ok": ok, "seconds": round(time.perf_counter() - began, 2), "steps": told}
