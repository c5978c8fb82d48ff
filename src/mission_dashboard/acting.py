"""On whose behalf a thread works: set where a request comes in, written with every event that it leads to."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change, and from which address."""

    name: str
    address: str


acting: contextvars.ContextVar[Actor | None] = contextvars.ContextVar("acting", default=None)
"""None: the machine's own user, a library's caller, or the dashboard itself."""
