"""A form in parts that no browser writes: refused before anything is asked of it, never a defect of ours."""

import pytest

from tests.identity.sign_in.visitors import CAISSE, Visitor

PART = b'--b\r\nContent-Disposition: form-data; name="csrf_token"\r\n'


@pytest.mark.parametrize(
    "said",
    [
        PART + b"\r\n\xff\xfe\r\n--b--",
        PART + b"Content-Type: text/plain; charset=nobody\r\n\r\nx\r\n--b--",
        PART + b"Content-Type: application/json\r\n\r\n{\r\n--b--",
        PART + b"Content-Type: \xff\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Disposition: form-data; name*=nobody''%ff\r\n\r\nx\r\n--b--",
        b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--',
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        PART.replace(b'"\r\n', b'"; filename="x"\r\n') + b"\r\nx\r\n--b--",
        b"--b\r\nX",
        b"",
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(visitor: Visitor, said: bytes) -> None:
    await visitor.get(f"/{CAISSE}/sign-in")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = await visitor.http.post(f"/{CAISSE}/sign-in", content=said, headers=headers)
    assert answer.status_code in (400, 403)
