"""Folders for the tests' databases: in memory where there is room, as each database is 300 files, soon removed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
ROOM_BYTES = 4_000_000_000
"""Several workers need less than half of it."""


def make_folder(prefix: str) -> Path:
    """Make a folder that PostgreSQL's user may pass through too where root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=SHARED_MEMORY if _has_room(SHARED_MEMORY) else "/tmp"))
    folder.chmod(0o711)
    return folder


def _has_room(folder: Path) -> bool:
    """Whether much can be written there; and run, as PostgreSQL's programs may have to be copied to its data."""
    if not folder.is_dir():
        return False
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize > ROOM_BYTES and not state.f_flag & os.ST_NOEXEC
