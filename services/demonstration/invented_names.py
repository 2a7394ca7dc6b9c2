"""Names of firms, people and streets that exist nowhere, with every letter French uses.

Towns are real, since postcodes must be; the rest is put together from syllables.
"""

from random import Random

TRADES = (
    "Maçonnerie", "Charpente", "Plomberie", "Électricité", "Couverture", "Carrelage", "Menuiserie",
    "Peinture", "Étanchéité", "Terrassement", "Façades", "Plâtrerie", "Serrurerie", "Génie climatique",
    "Zinguerie", "Maîtrise d'œuvre", "Ravalement", "Bâtiment", "Gros œuvre", "Isolation",
)  # fmt: skip
FORMS = ("SARL", "SAS", "EURL", "SA", "SASU", "EI")
_STARTS = ("Bar", "Ber", "Cha", "Cour", "Dela", "Fau", "Gar", "Hé", "Jou", "Lam", "Mar", "Nou", "Péri", "Rou", "Sau",
           "Tri", "Val", "Ver", "d'Am", "L'Es")  # fmt: skip
_MIDDLES = ("ba", "bre", "cha", "dé", "fo", "gue", "li", "mo", "na", "pou", "ra", "ti", "vi")
_ENDS = (
    "chon",
    "dès",
    "lier",
    "nard",
    "quet",
    "rèze",
    "sseau",
    "tard",
    "velle",
    "zac",
    "goën",
    "neuf",
    "tœuf",
)
FIRST_NAMES = (
    "Agnès", "Aïcha", "André", "Benoît", "Chloé", "Déborah", "Élodie", "François", "Gaël", "Hélène", "Inès", "Jérôme",
    "Karim", "Léa", "Loïc", "Maëlle", "Noël", "Océane", "Pénélope", "Raphaël", "Sébastien", "Thérèse", "Ulysse", "Zoé",
)  # fmt: skip
ROLES = (
    "Gérant",
    "Gérante",
    "Comptable",
    "Secrétaire",
    "Directeur",
    "Responsable paie",
    "Conjointe collaboratrice",
)
STREETS = (
    "rue des Charpentiers", "avenue du Général de Gaulle", "chemin de la Carrière", "impasse de l'Étang",
    "boulevard de l'Œuvre", "rue de la Forêt", "allée des Chênes", "route d'Apt", "place de l'Église", "quai de l'Île",
)  # fmt: skip
COMPLEMENTS = (
    "Zone artisanale des Piboules",
    "Bâtiment C",
    "Parc d'activités de l'Œillet",
    "Résidence Les Cèdres",
)
LONG_STREET = "17 rue Saint-Barthélemy des Grands Prés"
"""39 characters: one too many for NF Z 10-011."""

TOWNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "mediterranee": (
        ("13001", "Marseille", "13201"), ("13100", "Aix-en-Provence", "13001"), ("06000", "Nice", "06088"),
        ("83000", "Toulon", "83137"), ("84000", "Avignon", "84007"), ("34000", "Montpellier", "34172"),
        ("30000", "Nîmes", "30189"), ("66000", "Perpignan", "66136"), ("11100", "Narbonne", "11262"),
        ("04000", "Digne-les-Bains", "04070"), ("05000", "Gap", "05061"), ("48000", "Mende", "48095"),
        ("20000", "Ajaccio", "2A004"), ("20200", "Bastia", "2B033"), ("13681", "Marignane Cedex", "13054"),
        ("34200", "Sète", "34301"), ("97400", "Saint-Denis", "97411"), ("97110", "Pointe-à-Pitre", "97120"),
    ),
    "ile-de-france": (
        ("75011", "Paris", "75111"), ("92000", "Nanterre", "92050"), ("93200", "Saint-Denis", "93066"),
        ("94000", "Créteil", "94028"), ("95000", "Cergy", "95127"), ("91000", "Évry-Courcouronnes", "91228"),
        ("78000", "Versailles", "78646"), ("77100", "Meaux", "77284"), ("75958", "Paris Cedex 20", "75120"),
    ),
    "grand-ouest": (
        ("44000", "Nantes", "44109"), ("35000", "Rennes", "35238"), ("29200", "Brest", "29019"),
        ("56100", "Lorient", "56121"), ("49000", "Angers", "49007"), ("85000", "La Roche-sur-Yon", "85191"),
        ("22000", "Saint-Brieuc", "22278"), ("53000", "Laval", "53130"), ("44185", "Nantes Cedex 4", "44109"),
    ),
}  # fmt: skip
FOREIGN = (
    ("1000-205", "Lisboa", "PORTUGAL"), ("4000", "Liège", "BELGIQUE"), ("10115", "Berlin", "ALLEMAGNE"),
    ("20121", "Milano", "ITALIE"), ("00-001", "Varsovie", "POLOGNE"),
)  # fmt: skip


def surname(rng: Random) -> str:
    return rng.choice(_STARTS) + rng.choice(_MIDDLES) + rng.choice(_ENDS)


def firm(rng: Random) -> str:
    """`SARL Charpente Hémovelle`, at most 60 characters."""
    return f"{rng.choice(FORMS)} {rng.choice(TRADES)} {surname(rng)}"


def cabinet(rng: Random) -> str:
    return f"{rng.choice(('Cabinet', 'Fiduciaire', 'Expertise'))} {surname(rng)} & Associés"
