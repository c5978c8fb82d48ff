"""How the command is called here, for sentences that tell somebody to call it."""

from __future__ import annotations

import shutil
from pathlib import Path

NAME = "mission-dashboard"
SCRIPT = Path(__file__).resolve().parents[2] / NAME
"""The script of a clone and of the image; an installed package has none beside it."""


def command_name() -> str:
    """Return the command's name where that finds it, and in a clone the script of the clone."""
    if not SCRIPT.is_file():
        return NAME
    found = shutil.which(NAME)
    return NAME if found and Path(found).resolve() == SCRIPT else f"./{NAME}"
