"""What people read: typeset French, plain words, and English for every sentence of the shared pages.

The templates hold plain spaces; the French catalogue sets the unbreakable ones (libs/common/pages/typography.py).
So the sentences are judged as people get them, and the templates for what never reaches the catalogue.
"""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from libs.common.http import application, deadlines, problems
from libs.common.http.problems import PROBLEMS
from libs.common.pages.typography import set_french
from libs.common.values.sentence import Sentence, said
from services.identity.app import FEATURES_WITH_PAGES
from services.portal.home.facts import ACTS, FAMILIES, REASONS, Act, Reason

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(
    path
    for folder in ("libs", "services")
    for path in (ROOT / folder).rglob("*.html")
    if "pages" in path.relative_to(ROOT).parts
)
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
JARGON = re.compile(
    r"\b(tokens?|scopes?|jetons?|login|e-?mails? address|user|cookie jar|bearer|client_id|oauth|openid)\b",
    re.IGNORECASE,
)
WRONG_SPACES = (
    re.compile(r"[^\u202f\s][;!?](?=\s|$)"),
    re.compile(r"[ \u00a0\w][;!?](?=\s|$)"),
    re.compile(r"[ \u202f\w]:(?=\s|$)"),
    re.compile(r"«(?!\u00a0)|(?<!\u00a0)»"),
    re.compile(r"\w'\w"),
)


def sentences(template: Path) -> list[str]:
    """Every French sentence that the template asks of the catalogue."""
    found: list[str] = []
    for _, messages, _, _ in extract_from_file("jinja2", template, keywords=KEYWORDS):
        found += [messages] if isinstance(messages, str) else [one for one in messages if one]
    return found


def english(folder: Path) -> set[str]:
    with (folder / "en.po").open("rb") as lines:
        catalogue = read_po(lines, locale="en")
    ids = [message.id for message in catalogue if message.id and message.string]
    return {one for entry in ids for one in ([entry] if isinstance(entry, str) else entry)}


def name(template: Path) -> str:
    return str(template.relative_to(ROOT))


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_sentences_are_typeset(template: Path) -> None:
    wrong = [s for s in map(set_french, sentences(template)) for rule in WRONG_SPACES if rule.search(s)]

    assert wrong == []


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_sentences_use_the_words_of_the_field(template: Path) -> None:
    assert [sentence for sentence in sentences(template) if JARGON.search(sentence)] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_sentences_are_short_enough_to_be_read_once(template: Path) -> None:
    long = [
        part
        for sentence in sentences(template)
        for part in re.split(r"(?<=[.!?:;])\s", sentence)
        if len(part.split()) > 35
    ]

    assert long == []


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_a_percent_sign_is_doubled(template: Path) -> None:
    """The catalogue formats each sentence: a lone % would break the page."""
    lone = re.compile(r"%(?!%|\(\w+\)[sd])")

    assert [s for s in sentences(template) if lone.search(s.replace("%%", ""))] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_a_telephone_number_is_never_cut(template: Path) -> None:
    read = re.sub(r'href="tel:[^"]*"', "", template.read_text("utf-8"))
    shown = re.findall(r"\{\{[^}]*\.phone\b[^}]*\}\}", read)

    assert [one for one in shown if "| phone" not in one and "ui.phone_link(" not in one] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_pages_carry_no_style_nor_script_of_their_own(template: Path) -> None:
    source = template.read_text("utf-8")

    assert re.findall(r"<style|\sstyle=|<script|\son[a-z]+=|https?://(?!www\.w3\.org)", source) == []


@pytest.mark.parametrize(
    ("templates", "catalogues"),
    [
        ("libs/common/pages/templates", ["libs/common/pages/catalogues"]),
        (
            "services/portal/pages/templates",
            ["services/portal/pages/catalogues", "libs/common/pages/catalogues"],
        ),
        (
            "services/identity",
            [
                *(f"services/identity/{feature}/catalogues" for feature in FEATURES_WITH_PAGES),
                "libs/common/pages/catalogues",
            ],
        ),
    ],
)
def test_english_is_complete(templates: str, catalogues: list[str]) -> None:
    known = set[str]().union(*(english(ROOT / folder) for folder in catalogues))
    asked = {s for template in (ROOT / templates).rglob("*.html") for s in sentences(template)}

    assert sorted(asked - known) == []


IDENTITY_CATALOGUES = [
    *(f"services/identity/{feature}/catalogues" for feature in FEATURES_WITH_PAGES),
    "libs/common/pages/catalogues",
]


TO_PROGRAMS = (
    "libs.common.access.",
    "libs.common.http.json_bodies",
    "services.identity.admin.",
    "services.identity.letters.make",
    "services.identity.letters.post_lot",
    "services.identity.letters.print_lot",
    "services.identity.openid.write_client",
    "services.identity.signing_keys.rotation",
)
"""Where refusals are met by callers of our APIs and by commands alone."""


def told_by_code() -> Iterator[tuple[str, ast.Call]]:
    """Every sentence that our code makes for a page, with the call that makes it."""
    for folder in ("libs", "services/identity"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "Sentence"
                ):
                    yield name(file), node


def test_a_sentence_is_written_where_it_is_made() -> None:
    """A pattern put together at run time would have no English: only a refusal's own title is taken from elsewhere."""
    made_up = [
        (file, call.lineno)
        for file, call in told_by_code()
        if not (len(call.args) == 1 and isinstance(call.args[0], ast.Constant))
    ]

    assert [file for file, _ in made_up] == ["libs/common/http/problems.py"]


def test_every_sentence_of_our_code_has_its_english() -> None:
    """WCAG 2.2 §3.1.2: a French sentence on an English page is read with English sounds."""
    known = set[str]().union(*(english(ROOT / folder) for folder in IDENTITY_CATALOGUES))
    asked = {
        call.args[0].value
        for _, call in told_by_code()
        if call.args and isinstance(call.args[0], ast.Constant)
    }
    titles = {
        problem.title
        for kind, problem in PROBLEMS.items()
        if kind.__module__.startswith(("libs.", "services.identity."))
        and not kind.__module__.startswith(TO_PROGRAMS)
    }
    bare = {problem.title for problem in (problems.INTERNAL, application.TOO_SLOW, deadlines.TOO_LONG)}

    assert len(asked) > 30
    assert (
        sorted(
            ({str(one) for one in asked} | titles | bare | {problems.REFUSED, *problems.HTTP_TITLES.values()})
            - known
        )
        == []
    )


UNKNOWN = (Reason(code="", remedy="").title, Act(at=datetime.now(UTC), action="").title)
"""What a reason and an act are called that the portal does not know yet."""


def test_what_the_portal_calls_things_has_its_english() -> None:
    known = english(ROOT / "services/portal/pages/catalogues")

    assert sorted({*ACTS.values(), *REASONS.values(), *FAMILIES.values(), *UNKNOWN} - known) == []


def test_a_sentence_is_told_with_its_values_and_goes_on_in_lower_case():
    english = {"Il manque %(n)s signes.": "%(n)s symbols are missing.", "Code : %(how)s": "Code: %(how)s"}
    how = Sentence("Il manque %(n)s signes.", n=3)
    whole = Sentence("Code : %(how)s", how=how)

    assert whole == "Code : il manque 3 signes."
    assert said(whole, lambda one: english[one]) == "Code: 3 symbols are missing."
    assert said("20 % de moins", str) == "20 % de moins"


def test_english_keeps_every_value_of_a_sentence() -> None:
    """A name lost or misspelt in translation would break the English page alone."""
    value = re.compile(r"%\(\w+\)[sd]")
    differ: list[str] = []
    for file in (*ROOT.glob("libs/**/en.po"), *ROOT.glob("services/**/en.po")):
        with file.open("rb") as lines:
            for message in read_po(lines, locale="en"):
                told, said = message.id, message.string
                if not (isinstance(told, str) and isinstance(said, str) and said):
                    continue
                if set(value.findall(told)) != set(value.findall(said)):
                    differ.append(told)
    assert differ == []


def test_a_value_may_begin_a_line_whatever_mark_announces_it():
    """`%(email)s` is no percentage: bound to the word before it, a long value was cut in its middle."""
    assert (
        set_french("avec l’adresse %(email)s, à 20 %% près") == "avec l’adresse %(email)s, à 20\u00a0%% près"
    )


@given(st.text(alphabet="ab :;!?«»%€'’\u00a0\u202f", max_size=30))
def test_setting_a_sentence_twice_changes_nothing(text: str) -> None:
    assert set_french(set_french(text)) == set_french(text)
