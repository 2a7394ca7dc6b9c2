"""A page that code or another page sends its reader to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = re.compile(r"docs/[a-z-]+/[A-Za-z0-9._-]+\.md")
SECTION = re.compile(PAGE.pattern + r'(?:,\s+)"([^"]+)"')
DECISION = re.compile(r"docs/decisions/(\d{4})\b")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
CODE = sorted(
    path for folder in ("libs", "services", "bench", "tests") for path in (ROOT / folder).rglob("*.py")
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_pages_named_in_code_are_there() -> None:
    named = {page for path in CODE for page in PAGE.findall(path.read_text())}
    assert named and {page for page in named if not (ROOT / page).exists()} == set()


def test_sections_and_decisions_named_in_code_are_there() -> None:
    for path in CODE:
        text = path.read_text()
        for found in SECTION.finditer(text):
            page = PAGE.match(found[0])
            assert page is not None
            headings = re.findall(r"^#+ (.*)$", (ROOT / page[0]).read_text(), re.MULTILINE)
            assert any(found[1] in heading for heading in headings), (path, found[0])
        for number in DECISION.findall(text):
            assert list((ROOT / "docs" / "decisions").glob(f"{number}-*.md")), (path, number)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_files_that_a_page_names_are_there() -> None:
    """Bare (`revoke.py`) or with some of their folders; also the folders themselves (`services/portal/session`)."""
    paths = [str(path.relative_to(ROOT)) for path in CODE]
    for page in PAGES:
        text = page.read_text()
        for named in re.findall(r"`([a-z0-9_/]+\.py)(?:::\w+)?`", text):
            assert any(f"/{path}".endswith(f"/{named}") for path in paths), (page, named)
        for folder in re.findall(r"`((?:libs|services|tests|deploy|docs)/[a-z_/]+)`", text):
            assert (ROOT / folder).exists(), (page, folder)
