"""What a scope lets a client do, as the consent page and the account page say it."""

from collections.abc import Iterable
from typing import NamedTuple

from libs.common.values.sentence import Sentence

READING: dict[str, Sentence] = {
    "openid": Sentence("Savoir que vous êtes connecté"),
    "profile": Sentence("Lire votre nom"),
    "email": Sentence("Lire votre adresse électronique"),
    "phone": Sentence("Lire votre numéro de téléphone"),
    "address": Sentence("Lire l’adresse de l’entreprise"),
    "employee.read": Sentence("Lire la liste des salariés"),
    "declaration.read": Sentence("Lire les déclarations de salaires"),
    "payment.read": Sentence("Lire les paiements et les sommes dues"),
    "leave.read": Sentence("Lire les congés des salariés"),
    "weather.read": Sentence("Lire les arrêts pour intempéries"),
    "attestation.read": Sentence("Lire la situation de l’entreprise et ses attestations"),
    "document.read": Sentence("Lire les documents"),
    "message.read": Sentence("Lire les messages échangés avec la caisse"),
}
"""Scopes that only read, in the order in which people read them."""

ACTING: dict[str, Sentence] = {
    "declaration.submit": Sentence("Préparer, corriger et envoyer les déclarations de salaires"),
    "payment.prepare": Sentence("Préparer des paiements"),
    "payment.order": Sentence("Ordonner des paiements"),
    "leave.plan": Sentence("Demander et annuler des congés pour les salariés"),
    "weather.declare": Sentence("Déclarer des arrêts pour intempéries et demander leur remboursement"),
    "attestation.request": Sentence("Demander des attestations"),
    "document.deposit": Sentence("Déposer des documents"),
    "message.send": Sentence("Écrire à la caisse"),
    "mandate.manage": Sentence("Gérer les délégations de l’entreprise"),
    "account.manage": Sentence("Gérer les utilisateurs et les données de l’entreprise"),
    "bank.manage": Sentence("Gérer les coordonnées bancaires"),
    "offline_access": Sentence("Agir aussi quand vous n’êtes pas connecté"),
}
"""Scopes that change something, or act in one's absence: told last, so that they stay in mind."""


class Rights(NamedTuple):
    """What an access allows, as people read it: what it may see, then what it may do."""

    reading: list[str]
    acting: list[str]


def rights_in_words(scopes: Iterable[str]) -> Rights:
    """One order everywhere, whatever order they were asked in.

    A scope without a sentence is shown by its name, never left out, and among those that act.
    """
    held = frozenset(scopes)
    unknown = sorted(held - READING.keys() - ACTING.keys())
    return Rights(
        [words for scope, words in READING.items() if scope in held],
        [*(words for scope, words in ACTING.items() if scope in held), *unknown],
    )
