"""Which passwords we accept: long ones that nobody would guess.

No composition rule, no rotation (NIST SP 800-63B-4 §3.1.1.2, CNIL 2022-100).
"""

from collections.abc import Iterable

from libs.common.refusals import DomainError

LEAST_ALONE = 15
LEAST_WITH_SECOND_FACTOR = 12
MOST = 256
JUDGED = 32
"""Characters judged: what follows only makes a password stronger, and zxcvbn tries every reading of `4@8({[<3€9#`
over every part of it: 72 of them held the whole service for a second and a half, 32 for a fifth of one."""

LEAST_GUESSES_LOG10 = 10.0
"""10¹⁰ guesses: out of reach of anybody who must ask us, and dear with a stolen hash."""

OUR_WORDS = (
    "espace", "securise", "entreprise", "adherent", "caisse", "conges", "intemperies", "batiment", "travaux",
    "publics", "btp", "cibtp", "chantier", "macon", "attestation", "cabinet", "comptable", "delegation",
    "motdepasse", "identifiant", "courrier", "mediterranee", "azerty", "bonjour", "soleil", "france",
)  # fmt: skip


class PasswordTooShort(DomainError):
    """Fewer characters than the rule for this person."""

    def __init__(self, least: int) -> None:
        super().__init__(f"fewer than {least} characters")
        self.least = least


class PasswordTooLong(DomainError):
    """More characters than we read."""


class PasswordGuessable(DomainError):
    """On the lists that are tried first, or made of what everybody knows of this person."""


def check_password_choice(
    password: str, *, known: Iterable[str] = (), has_second_factor: bool = False
) -> None:
    """Accept a new password, or say why not.

    `known` is what an outsider knows: the e-mail, the firm, its SIRET. Raises
    `PasswordTooShort`, `PasswordTooLong`, `PasswordGuessable`.
    """
    least = LEAST_WITH_SECOND_FACTOR if has_second_factor else LEAST_ALONE
    if len(password) < least:
        raise PasswordTooShort(least)
    if len(password) > MOST:
        raise PasswordTooLong
    # Imported where a password is chosen: its lists of words weigh 20 ms and 12 MB.
    from zxcvbn import zxcvbn

    judged = zxcvbn(password[:JUDGED], user_inputs=[*OUR_WORDS, *_words(known)])
    if float(judged["guesses_log10"]) < LEAST_GUESSES_LOG10:
        raise PasswordGuessable


def _words(known: Iterable[str]) -> list[str]:
    words: set[str] = set()
    for text in known:
        lowered = text.lower()
        words.add(lowered)
        words.update(word for word in lowered.replace("@", " ").replace(".", " ").split() if len(word) > 2)
    return sorted(words)
