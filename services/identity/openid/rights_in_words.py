"""What a scope lets a client do, as the consent page says it."""

WORDS: dict[str, str] = {
    "openid": "Savoir que vous êtes connecté",
    "profile": "Lire votre nom",
    "email": "Lire votre adresse électronique",
    "address": "Lire l’adresse de l’entreprise",
    "phone": "Lire votre numéro de téléphone",
    "offline_access": "Agir aussi quand vous n’êtes pas connecté",
    "declaration.read": "Lire les déclarations de salaires",
    "declaration.submit": "Préparer, corriger et envoyer les déclarations de salaires",
    "payment.read": "Lire les paiements et les sommes dues",
    "payment.prepare": "Préparer des paiements",
    "payment.order": "Ordonner des paiements",
    "leave.read": "Lire les congés des salariés",
    "leave.plan": "Demander et annuler des congés pour les salariés",
    "weather.read": "Lire les arrêts pour intempéries",
    "weather.declare": "Déclarer des arrêts pour intempéries et demander leur remboursement",
    "employee.read": "Lire la liste des salariés",
    "attestation.read": "Lire la situation de l’entreprise et ses attestations",
    "attestation.request": "Demander des attestations",
    "document.read": "Lire les documents",
    "document.deposit": "Déposer des documents",
    "message.read": "Lire les messages échangés avec la caisse",
    "message.send": "Écrire à la caisse",
    "mandate.manage": "Gérer les délégations de l’entreprise",
    "account.manage": "Gérer les utilisateurs et les données de l’entreprise",
    "bank.manage": "Gérer les coordonnées bancaires",
}


def in_words(scope: str) -> str:
    """The sentence; a scope without one is shown by its name, never left out."""
    return WORDS.get(scope, scope)
