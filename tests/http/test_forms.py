"""A form's fields: text, bounded, and once where one is awaited."""

from typing import Any

import pytest

from libs.common.http.forms import LONGEST, Form, MalformedForm


def test_a_field_is_kept_as_typed_or_without_its_ends() -> None:
    form = Form([("a", " x "), ("b", "1"), ("b", "2"), ("c", "x" * LONGEST)])
    assert (form.secret("a"), form.text("a"), form.text("none")) == (" x ", "x", "")
    assert (form.all("b"), form.ticked("b"), form.ticked("none")) == (["1", "2"], True, False)
    assert len(form.text("c")) == LONGEST


@pytest.mark.parametrize("value", ["x" * (LONGEST + 1), b"a file", None])
def test_what_is_no_text_or_too_long_is_refused(value: Any) -> None:
    with pytest.raises(MalformedForm):
        Form([("a", value)])


def test_of_a_field_given_twice_neither_is_taken() -> None:
    """What one reader takes for the first, another takes for the last."""
    form = Form([("csrf_token", "theirs"), ("csrf_token", "ours")])
    for read in (form.secret, form.text):
        with pytest.raises(MalformedForm):
            read("csrf_token")
