"""Loaded by schemathesis: each of its requests comes from an address of its own.

Wrong keys from one address are answered 429 after ten, and could not be told from keys that are let in.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import requests

_numbers = count()
_send = requests.Session.send


def _send_from_elsewhere(session: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> Any:
    number = next(_numbers)
    request.headers["X-Forwarded-For"] = f"198.{18 + number // 65_536 % 2}.{number // 256 % 256}.{number % 256}"
    return _send(session, request, **kwargs)


requests.Session.send = _send_from_elsewhere  # type: ignore[method-assign]
