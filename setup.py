"""Packs the page with the package; everything else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithPage(build_py):
    """Copies the page's folders, which lie at the root of the repository, into the package."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "mission_dashboard" / "page"
            for name in ("templates", "static"):
                shutil.rmtree(target / name, ignore_errors=True)
                shutil.copytree(name, target / name)


setup(cmdclass={"build_py": WithPage})
