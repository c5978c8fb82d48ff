"""Headers are read quickly, and exactly as the standard library reads them."""

from __future__ import annotations

import http.client
import io
from http.client import HTTPMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_dashboard.web import framing
from mission_dashboard.web.framing import RequestHeaders, framing_problem

PIECES = st.sampled_from(
    [
        b"Host",
        b"X-A",
        b"content-length",
        b":",
        b": ",
        b":\t",
        b" ",
        b"\t",
        b"a",
        b"\xff",
        b"\x85",
        b"\x1c",
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b"From ",
        b"\r\n ",
        b"(",
        b"0",
    ]
)
LINE = st.builds(lambda name, value: name + b":" + value + b"\r\n", PIECES, PIECES)
HEAD = st.builds(lambda parts: b"".join(parts) + b"\r\n\r\n", st.lists(st.one_of(PIECES, LINE), max_size=12))


def read(head: bytes, reader: object, kind: type[HTTPMessage]) -> object:
    file = io.BytesIO(head)
    try:
        found = reader(file, kind)  # type: ignore[operator]
    except http.client.HTTPException as error:
        return type(error)
    told = [type(defect).__name__ for defect in found.defects]
    return list(found._headers), told, found.get_payload() or None, framing_problem(found), file.tell()


@given(HEAD)
def test_whatever_is_sent_headers_are_what_the_standard_library_finds(head: bytes) -> None:
    quick = read(head, framing._parse_headers, RequestHeaders)
    assert quick == read(head, framing._parse_slowly, RequestHeaders)


@pytest.mark.parametrize(
    "head",
    [
        b"Host: a\r\nContent-Length:  5 \r\nX-Empty:\r\nx-a: b: c\r\n\r\n",
        b"\r\n",
        b"A: 1\r\n" * 99 + b"\r\n",
    ],
)
def test_plain_headers_take_the_quick_way(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly = read(head, framing._parse_slowly, RequestHeaders)
    monkeypatch.setattr(framing, "_parse_slowly", None)
    assert read(head, framing._parse_headers, RequestHeaders) == slowly


def test_too_many_or_too_long_headers_are_refused_as_before() -> None:
    for head in (b"A: 1\r\n" * 101 + b"\r\n", b"A: " + b"x" * 70_000 + b"\r\n\r\n"):
        assert isinstance(read(head, framing._parse_headers, RequestHeaders), type)


def test_nobody_else_is_read_that_way(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(framing, "_parse_slowly", lambda file, kind: seen.append(kind))
    framing._parse_headers(io.BytesIO(b"A: 1\r\n\r\n"))
    assert seen == [HTTPMessage]
