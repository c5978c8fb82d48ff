"""The page and its files. Static addresses carry a hash of the whole tree, so they may be cached for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Flask, Response, render_template, request, send_from_directory

from mission_dashboard import __version__
from mission_dashboard.web.compression import compressed_file

YEAR_S = 365 * 24 * 3600
TEXT_TYPES = ("application/javascript", "application/json", "application/manifest+json", "image/svg+xml")


def page_headers(static_url: str) -> Mapping[str, str]:
    """Return the headers of a page whose files come from ``static_url``, or from here where that is empty."""
    files = "/".join(static_url.split("/")[:3]) or "'self'"
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src {files}; style-src {files}; font-src {files}; img-src {files} data:; "
            f"connect-src 'self'; manifest-src {files}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-cache",
    }


def make_pages(app: Flask, static: Path, static_url: str) -> Blueprint:
    """Return the blueprint of the page; templates get ``asset(path)`` for the addresses of files."""
    headers = page_headers(static_url)
    pages = Blueprint("pages", __name__)
    tree = _tree_hash(static)

    @app.template_global()
    def asset(path: str) -> str:
        return f"{static_url}/static/{tree}/{path}"

    @pages.get("/")
    def dashboard() -> Response:
        page = Response(render_template("mission_dashboard.html", version=__version__))
        page.headers.update(headers)
        return page

    @pages.get("/favicon.ico")
    def favicon() -> Response:
        return Response(status=204, headers={"Cache-Control": f"max-age={YEAR_S}"})

    @pages.get("/static/<version>/<path:path>")
    def static_file(version: str, path: str) -> Response:
        file = send_from_directory(static, path, conditional=True)
        known = version == tree
        file.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable" if known else "no-cache"
        if static_url:  # a CDN passes our headers on, and modules of another origin need this one
            file.headers["Access-Control-Allow-Origin"] = "*"
        return _compressed(file, compress) if file.status_code == 200 else file

    @lru_cache(maxsize=256)
    def compress(path: str, modified_at: float) -> bytes:
        return compressed_file(static, path)

    return pages


def _compressed(file: Response, compress: Callable[[str, float], bytes]) -> Response:
    """Send text compressed to who takes it; compressed once, for files are few and never change while we run."""
    file.vary.add("Accept-Encoding")
    path = str((request.view_args or {})["path"])
    kind = file.mimetype or ""
    is_text = kind.startswith("text/") or kind in TEXT_TYPES
    if not is_text or not request.accept_encodings.quality("gzip"):
        return file
    file.direct_passthrough = False
    file.set_data(compress(path, file.last_modified.timestamp() if file.last_modified else 0.0))
    file.headers["Content-Encoding"] = "gzip"
    file.headers.pop("ETag", None)
    file.headers.pop("Accept-Ranges", None)
    return file


def _tree_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
