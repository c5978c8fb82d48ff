"""Parts of addresses."""

from __future__ import annotations

from werkzeug.routing import BaseConverter


class IdConverter(BaseConverter):
    """An id: not one of the words that have addresses of their own, whose other methods are answered 405."""

    regex = r"(?!(?:batch|sessions|usual)(?:/|$))[^/]+"
