"""How many parts an export has, told before it is decoded.

An empty part takes two bytes on its way and a hundred here: twenty megabytes of empty spans, twenty kilobytes when
compressed, took 1.4 GB and 23 s of everybody's time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

MAX_PARTS = 400_000
"""Spans, attributes and values. The largest export that a collector makes by itself, 8,192 spans, has about 340,000."""
MAX_FIELDS = 4 * MAX_PARTS
"""All that is said of them."""
MAX_NESTING = 40
TURN = 20_000
_TEXT = re.compile(rb'"[^"]*(?:"|\Z)')

# Fields of the messages of OTLP that hold messages, by their number; all else has no parts.
_ATTRIBUTE: dict[int, object] = {}
_VALUE: dict[int, object] = {6: {1: _ATTRIBUTE}}
_VALUE[5] = {1: _VALUE}
_ATTRIBUTE[2] = _VALUE
_WITH_ATTRIBUTES = {3: _ATTRIBUTE}
_SPAN = {9: _ATTRIBUTE, 11: _WITH_ATTRIBUTES, 13: {4: _ATTRIBUTE}, 15: {}}
_SCOPE_SPANS = {1: _WITH_ATTRIBUTES, 2: _SPAN}
_EXPORT: Mapping[int, object] = {1: {1: {1: _ATTRIBUTE}, 2: _SCOPE_SPANS}}

_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_FIXED = {_FIXED_64: 8, _FIXED_32: 4}


def has_too_many_parts_json(body: bytes) -> bool:
    """Whether a JSON text has more parts than an export may have."""
    return _is_crowded(body) and _is_crowded(_without_texts(body))


def _without_texts(body: bytes) -> bytes:
    """Return a JSON text without what is quoted in it; a text that does not end reaches to the end of all.

    Escapes go first: a pattern that reads them needs minutes, or a gigabyte, for what is made for it.
    """
    return _TEXT.sub(b"", body.replace(rb"\\", b"").replace(rb"\"", b""))


def _is_crowded(body: bytes) -> bool:
    return body.count(b"{") + body.count(b"[") > MAX_PARTS or body.count(b",") > MAX_FIELDS


def has_too_many_parts_protobuf(body: bytes) -> bool:
    """Whether a binary export has more parts than it may have, or nests them too deeply."""
    if len(body) <= MAX_PARTS:
        return False
    parts = fields = 0
    waiting: list[tuple[int, int, Mapping[int, object], int]] = [(0, len(body), _EXPORT, 1)]
    while waiting:
        at, end, known, depth = waiting.pop()
        while at < end:
            fields += 1
            if not fields % TURN:
                time.sleep(0)  # a large export lets others have their turn
            tag, at = _varint(body, at, end)
            kind = tag & 7
            if kind == _LENGTH:
                length, at = _varint(body, at, end)
                inner = known.get(tag >> 3)
                if isinstance(inner, Mapping):
                    parts += 1
                    waiting.append((at, min(at + length, end), inner, depth + 1))
                at += length
            elif kind == _VARINT:
                _, at = _varint(body, at, end)
            elif kind in _FIXED:
                at += _FIXED[kind]
            else:
                break  # what this is, decoding tells
            if parts > MAX_PARTS or fields > MAX_FIELDS or depth > MAX_NESTING:
                return True
    return False


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = shift = 0
    while at < end:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            break
    return value, at
