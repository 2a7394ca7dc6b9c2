"""The rights in plain French, as people read them on pages, in mails and on receipts."""

from collections.abc import Iterable
from typing import Final

from libs.common.access.rights import DELEGABLE, Bundle, Family

RIGHT: Final[dict[str, str]] = {
    "declaration.read": "consulter vos déclarations",
    "declaration.submit": "déposer et corriger vos déclarations",
    "payment.read": "consulter vos appels de cotisations et vos paiements",
    "payment.prepare": "préparer un paiement",
    "payment.order": "ordonner un paiement, dans la limite du plafond",
    "leave.read": "consulter les congés de vos salariés",
    "leave.plan": "demander ou annuler des congés",
    "weather.read": "consulter vos arrêts pour intempéries",
    "weather.declare": "déclarer un arrêt pour intempéries et demander son remboursement",
    "employee.read": "voir la liste de vos salariés, sans leur numéro de sécurité sociale",
    "attestation.read": "consulter vos attestations",
    "attestation.request": "demander une attestation",
    "document.read": "consulter vos documents",
    "document.deposit": "déposer des documents",
    "message.read": "lire les messages échangés avec la caisse",
    "message.send": "écrire à la caisse en votre nom",
}
"""Every delegable right, in the order in which they are read; each follows « Votre cabinet pourra »."""

NEVER: Final[tuple[str, ...]] = (
    "donner accès à quelqu’un d’autre, ni changer cette délégation",
    "gérer vos utilisateurs, vos adresses électroniques ou vos mots de passe",
    "changer votre IBAN ou votre mandat de prélèvement",
)
"""The three that no delegation ever holds; each follows « Jamais »."""

GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Déclarations", ("declaration.read", "declaration.submit")),
    ("Paiements", ("payment.read", "payment.prepare", "payment.order")),
    ("Congés", ("leave.read", "leave.plan")),
    ("Intempéries", ("weather.read", "weather.declare")),
    ("Salariés", ("employee.read",)),
    ("Attestations", ("attestation.read", "attestation.request")),
    ("Documents", ("document.read", "document.deposit")),
    ("Messages", ("message.read", "message.send")),
)

BUNDLE: Final[dict[Bundle, tuple[str, str]]] = {
    "declare": (
        "Déclarer",
        "Déclarations, attestations, documents et messages. Ne touche pas aux paiements.",
    ),
    "declare_and_pay": (
        "Déclarer et payer",
        "Comme « Déclarer », et ordonner les paiements sous un plafond.",
    ),
    "leave": (
        "Congés et intempéries",
        "Demandes de congés, arrêts pour intempéries, attestations et documents.",
    ),
    "full": ("Tout gérer", "« Déclarer et payer » et « Congés et intempéries »."),
    "consult": ("Consulter seulement", "Tout voir, ne rien modifier. Ne remplace aucun cabinet."),
}

FAMILY: Final[dict[Family, str]] = {
    "contributions": "Déclarations et cotisations",
    "time_off": "Congés et intempéries",
}

STATE: Final[dict[str, tuple[str, str]]] = {
    "legacy_lapsed": ("Ancienne autorisation, sans effet", "off"),
    "requested": ("Demandée, en attente de votre réponse", "wait"),
    "offered": ("Proposée, en attente du cabinet", "wait"),
    "active": ("En vigueur", "good"),
    "suspended": ("Suspendue", "wait"),
    "declined": ("Refusée", "off"),
    "withdrawn": ("Retirée", "off"),
    "expired": ("Restée sans réponse", "off"),
    "replaced": ("Remplacée", "off"),
    "revoked": ("Révoquée", "off"),
    "resigned": ("Abandonnée par le cabinet", "off"),
    "ended": ("Terminée", "off"),
    "void": ("Annulée", "off"),
}
"""How a state is told, and the kind of its tag."""

EVENT: Final[dict[str, str]] = {
    "imported": "Reprise de l’ancien système, sans effet",
    "requested": "Demandée par le cabinet",
    "offered": "Proposée au cabinet",
    "activated": "Entrée en vigueur",
    "declined": "Refusée",
    "withdrawn": "Retirée",
    "expired": "Restée sans réponse",
    "narrowed": "Réduite",
    "widened": "Étendue",
    "renewed": "Prolongée",
    "suspended": "Suspendue",
    "resumed": "Reprise",
    "replaced": "Remplacée par un autre cabinet",
    "revoked": "Révoquée",
    "resigned": "Abandonnée par le cabinet",
    "ended": "Arrivée à son terme",
    "voided": "Annulée",
}

ACTION: Final[dict[str, str]] = {
    "attestation.issued": "Attestation délivrée",
    "attestation.refused": "Attestation refusée",
    "attestation.read": "Attestation consultée",
    "declaration.submitted": "Déclaration déposée",
    "member_file.read": "Dossier consulté",
    "standing.read": "Situation consultée",
    "statements.read": "Relevés consultés",
}


def in_order(scopes: Iterable[str]) -> list[str]:
    """The delegable rights among `scopes`, in reading order."""
    held = frozenset(scopes)
    return [scope for scope in RIGHT if scope in held]


def can(scopes: Iterable[str]) -> list[str]:
    """What these rights allow, a phrase each."""
    return [RIGHT[scope] for scope in in_order(scopes)]


def cannot(scopes: Iterable[str]) -> list[str]:
    """What these rights leave out, a phrase each; the three that are never delegated apart."""
    return [RIGHT[scope] for scope in in_order(DELEGABLE - frozenset(scopes))]


def sentence(scopes: Iterable[str]) -> str:
    """`consulter vos déclarations, demander une attestation et …`: what a mail says."""
    phrases = can(scopes)
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " et " + phrases[-1]
