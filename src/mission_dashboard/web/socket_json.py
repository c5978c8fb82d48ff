"""The JSON module that Socket.IO uses: the same serialiser as REST."""

from __future__ import annotations

from typing import Any

import orjson

from mission_dashboard import wire


class SocketJson:
    """``dumps`` and ``loads`` as python-socketio calls them."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Serialise to text."""
        return wire.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        """Parse; raise ValueError for what is not JSON."""
        return orjson.loads(text)
