"""What `espace up` prints for a person: the journey's steps, the addresses, who can sign in, what to click first."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from libs.common.runtime.installation import MAIL_WEB, Installation


def print_story(console: Console, story: Mapping[str, Any], log: Path) -> None:
    """The journey as it was played, step by step, with the addresses and files each step gave."""
    steps = _rows(story.get("steps"))
    if not steps:
        reason = story.get("error") or f"voyez {log}"
        console.print(f"[yellow]Le parcours n'a pas été joué : {reason}[/]\n")
        return
    for number, step in enumerate(steps, 1):
        held = step.get("ok", step.get("held", True))
        mark = "[green]✓[/]" if held else "[red]✗[/]"
        console.print(f"  {mark} {number:2}. {_title(step)}")
        if step.get("error"):
            console.print(f"         [red]{step['error']}[/]")
        for value in _worth_opening(step):
            console.print(f"         [dim]{value}[/]")
    if reason := story.get("error"):
        console.print(f"  [red]{reason}[/]")
    console.print()


def print_addresses(console: Console, place: Installation) -> None:
    """Where everything is, and what to click first."""
    answer = place.ready_answer()
    demo = cast(dict[str, Any], answer["demo"])
    rows = [
        ("Portail", answer["portal"], "commencez ici : choisissez une caisse"),
        ("Courrier", answer["mail"], "tous les mails de la démonstration"),
        ("Lettres", f"{answer['mail']}/letters", "les lettres, à l'écran"),
        *((name, answer[name], "") for name in ("identity", "adherent", "documents")),
        ("Réglages", answer["config"], f"{_how_it_is_typed()} --config CE_FICHIER caisse list"),
        ("Journaux", place.logs, ""),
    ]
    if "ca" in answer:
        rows.append(("Autorité", answer["ca"], "à importer dans le navigateur"))
    for name, where, says in rows:
        console.print(f"  {name:<10} [bold]{where}[/]" + (f"  [dim]{says}[/]" if says else ""))
    _print_accounts(console, _rows(demo.get("accounts")))
    if demo:
        console.print(
            f"\nPour essayer en personne : ouvrez {place.address(MAIL_WEB)}/letters, prenez une lettre d'identifiant "
            f"et la lettre de code du même adhérent, puis « Première connexion » depuis {answer['portal']}."
        )
    console.print("\nCtrl-C arrête tout ; les données restent dans " + str(place.data) + ".")


ROLES = {"owner": "responsable du cabinet", "member": "collaborateur"}


def _print_accounts(console: Console, accounts: Sequence[Mapping[str, Any]]) -> None:
    if not accounts:
        return
    console.print("\nComptes de démonstration :")
    for account in accounts:
        told = (ROLES.get(account.get("role", "")), account.get("cabinet_name"), account.get("caisse"))
        about = [str(word) for word in told if word]
        console.print(f"  [bold]{account.get('name', '')}[/]" + (f" ({', '.join(about)})" if about else ""))
        shown = (
            ("email", "adresse"),
            ("password", "mot de passe"),
            ("totp_secret", "clé du code à six chiffres"),
        )
        console.print("    " + ", ".join(f"{says} {account[key]}" for key, says in shown if account.get(key)))


def _how_it_is_typed() -> str:
    """`espace`, or where it lies: `make up` puts it in no PATH."""
    return "espace" if shutil.which("espace") else os.path.relpath(Path(sys.executable).with_name("espace"))


def _rows(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [cast(dict[str, Any], row) for row in cast(list[object], value) if isinstance(row, dict)]


def _title(step: Mapping[str, Any]) -> str:
    title = str(step.get("title") or step.get("says") or step.get("name") or step.get("step") or "?")
    took = step.get("ms", step.get("milliseconds"))
    return f"{title} [dim]{took:.0f} ms[/]" if isinstance(took, (int, float)) else title


def _worth_opening(step: Mapping[str, Any]) -> list[str]:
    """The addresses and files of a step, each once."""
    found: dict[str, None] = {}
    pending: list[object] = list(step.values())
    while pending:
        value = pending.pop(0)
        if isinstance(value, str) and value.startswith(("http://", "https://", "/")) and "\n" not in value:
            found[value] = None
        elif isinstance(value, dict):
            pending += cast(dict[str, object], value).values()
        elif isinstance(value, list):
            pending += cast(list[object], value)
    return list(found)
