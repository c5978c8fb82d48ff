"""Where a viewer stands in the stream of changes.

A cursor is opaque to clients: ``<database>.<transaction>``. Every change made by a transaction before that one has
been seen; later ones may come twice, which the mission's ``version`` makes harmless. A transaction id, not a
sequence number, because numbers of a sequence become visible out of order when several processes write. The
database's own name is part of it, so that a cursor from another database (restored, replaced) is recognised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"([0-9a-f]{8})\.([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in one database's stream of changes."""

    database: str
    transaction: int

    def __str__(self) -> str:
        return f"{self.database}.{self.transaction}"


def parse_cursor(text: str) -> Cursor | None:
    """Read a cursor as a client sent it; ``None`` for anything that never was one."""
    match = _FORM.fullmatch(text)
    return Cursor(match[1], int(match[2])) if match else None
