"""Makes what travels to browsers small: files once, without their comments, and long JSON answers each time."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from flask import Flask, Response, request

LEAST_BYTES = 1_400
"""What fits one packet is sent as it is."""
# Lines that are nothing but comment. Lines stay lines, so that what a browser reports is where the file has it.
_LINE_COMMENT = re.compile(r"^[ \t]*//.*$", re.MULTILINE)
_BLOCK_COMMENT = re.compile(
    r"^[ \t]*/\*(?:[^\n]*\*/[ \t]*$|[^\n]*\n(?:[ \t]*\*(?!/)[^\n]*\n)*[ \t]*\*/[ \t]*$)", re.MULTILINE
)


def compressed_file(folder: Path, path: str) -> bytes:
    """Return a text file as gzip; our own modules and styles without their comments."""
    data = (folder / path).read_bytes()
    if path.startswith(("js/", "css/")):
        data = without_comments(data.decode(), is_script=path.startswith("js/")).encode()
    return gzip.compress(data, 9, mtime=0)


def without_comments(text: str, *, is_script: bool) -> str:
    """Blank the lines of a module or style that are nothing but comment."""
    text = _BLOCK_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    return _LINE_COMMENT.sub("", text) if is_script else text


def compress_answers(app: Flask) -> None:
    """Compress long JSON answers to reads, for who takes gzip."""

    @app.after_request
    def compress(answer: Response) -> Response:
        if request.method != "GET" or not (answer.mimetype or "").endswith("json") or answer.is_streamed:
            return answer
        answer.vary.add("Accept-Encoding")
        if (answer.content_length or 0) < LEAST_BYTES or "Content-Encoding" in answer.headers:
            return answer
        if request.accept_encodings.quality("gzip"):
            data = gzip.compress(answer.get_data(), 1, mtime=0)
            answer.set_data(data)
            answer.headers["Content-Encoding"] = "gzip"
        return answer
