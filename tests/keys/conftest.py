"""One token a process, keys of their own for each test."""

import uuid
from pathlib import Path

import pytest

from tests.keys.token import Token, a_token


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    return a_token(tmp_path_factory.mktemp("token"))


@pytest.fixture
def label() -> str:
    """The name of a key that no other test has."""
    return f"espace-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "root-key"
