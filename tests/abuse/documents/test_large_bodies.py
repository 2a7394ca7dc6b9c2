"""Only the dropped file may be large: every other body keeps the limit of all (reliability.md §5)."""

import httpx
import pytest

from tests.documents.conftest import HERE

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


@pytest.mark.parametrize("path", [f"/{HERE}/verification"])
async def test_a_large_form_is_refused(documents_api: httpx.AsyncClient, path: str) -> None:
    answer = await documents_api.post(path, content=b"code=" + b"0" * 70_000, headers=FORM)
    assert answer.status_code == 413


async def test_a_dropped_file_may_be_large(documents_api: httpx.AsyncClient) -> None:
    sent = {"file": ("x.pdf", b"%PDF-1.7\n" + b"0" * 1_000_000, "application/pdf")}
    answer = await documents_api.post(
        f"/{HERE}/verification/file", files=sent, headers={"Accept": "text/html"}
    )
    assert answer.status_code == 404


async def test_a_file_beyond_its_limit_is_refused(documents_api: httpx.AsyncClient) -> None:
    sent = {"file": ("x.pdf", b"%PDF-1.7\n" + b"0" * 4_300_000, "application/pdf")}
    answer = await documents_api.post(
        f"/{HERE}/verification/file", files=sent, headers={"Accept": "text/html"}
    )
    assert answer.status_code == 413
