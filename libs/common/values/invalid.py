"""What every value says when it refuses what was typed."""

from libs.common.values.sentence import Sentence


class InvalidValue(ValueError):
    """The text is not the value it claims to be.

    `reason` is a French sentence fit for a page, a form or an import verdict. It
    never repeats the text itself: a code or an account number must not reach a log.
    """

    reason = Sentence("Cette valeur n'est pas valable.")

    def __init__(self) -> None:
        super().__init__(self.reason)
