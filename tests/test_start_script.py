"""The start script in a copy of the tree whose server only tells how it was called."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "start_mission_dashboard.sh"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which needs root")
NOBODY = 65534

SERVER = """
import json, os, sys
print(json.dumps(dict(arguments=sys.argv[1:], pid=os.getpid(), prefix=sys.prefix, cwd=os.getcwd())))
"""


class Tree:
    """A copy of the project with no requirements, so that an install takes no network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "src" / "mission_dashboard").mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT, folder)
        (folder / "src" / "mission_dashboard" / "mission_dashboard.py").write_text(SERVER)
        self.requirements.write_text("# nothing\n")

    @property
    def requirements(self) -> Path:
        return self.folder / "requirements.txt"

    @property
    def script(self) -> Path:
        return self.folder / SCRIPT.name

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.script), *arguments],
            cwd="/",
            env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run the script to its end: status, output, messages."""
        process = self.start(*arguments, **variables)
        output, messages = process.communicate(timeout=60)
        return process.returncode, output, messages

    def report(self, *arguments: str, **variables: str) -> dict[str, Any]:
        """Run the script and return what the server says of its start."""
        status, output, messages = self.run(*arguments, **variables)
        assert status == 0, messages
        report: dict[str, Any] = json.loads(output)
        return report


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "a clone")


@pytest.fixture
def installed_tree(installed_once: Tree, tmp_path: Path) -> Tree:
    """A tree that was started once, to do with as one likes."""
    shutil.copytree(installed_once.folder, tmp_path / "another clone", symlinks=True)
    return Tree(tmp_path / "another clone")


@pytest.fixture(scope="session")
def installed_once(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A tree that was started once; tests that change it take ``installed_tree``."""
    tree = Tree(tmp_path_factory.mktemp("installed") / "a clone")
    tree.report()
    return tree


def path_with(folder: Path, *programs: str) -> str:
    """A PATH that leads to these programs of the machine and no others."""
    folder.mkdir()
    for name in programs:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return str(folder)


def fake_python(folder: Path, body: str) -> str:
    folder.mkdir(exist_ok=True)
    python = folder / "python3"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    return str(python)


def test_a_fresh_clone_gets_an_environment_and_becomes_the_server(tree: Tree) -> None:
    process = tree.start("--port", "1 2")
    output, messages = process.communicate(timeout=60)

    report = json.loads(output)
    assert report["arguments"] == ["--port", "1 2"]
    assert report["pid"] == process.pid
    assert report["prefix"] == str(tree.folder / ".venv")
    assert "Making a virtual environment" in messages
    assert "Installing the packages" in messages


def test_a_second_start_installs_nothing_and_is_quick(installed_once: Tree) -> None:
    begun = time.monotonic()
    status, _, messages = installed_once.run()

    assert status == 0
    assert messages == ""
    assert time.monotonic() - begun < 1


def test_the_server_works_in_the_clone_wherever_it_is_started(installed_once: Tree) -> None:
    assert installed_once.report()["cwd"] == str(installed_once.folder)


def test_relative_paths_are_the_callers(tree: Tree) -> None:
    report = tree.report(MISSION_DASHBOARD_VENV=f".{tree.folder}/env", PYTHON=os.path.relpath(sys.executable, "/"))

    assert os.path.realpath(report["prefix"]) == str(tree.folder / "env")


def test_a_symlink_to_the_script_will_do(installed_once: Tree, tmp_path: Path) -> None:
    link = tmp_path / "mission-dashboard"
    link.symlink_to(installed_once.script)

    output = subprocess.run([str(link)], capture_output=True, text=True, check=True).stdout

    assert json.loads(output)["prefix"] == str(installed_once.folder / ".venv")


def test_new_requirements_are_installed_by_the_next_start(installed_tree: Tree) -> None:
    installed_tree.requirements.write_text("# still nothing\n")

    _, _, first = installed_tree.run()
    _, _, second = installed_tree.run()

    assert "Installing the packages" in first
    assert "Making a virtual environment" not in first
    assert second == ""


def test_an_interrupted_install_is_redone_from_the_ground(tree: Tree) -> None:
    tree.requirements.write_text("no-such-package-for-mission-dashboard==1.0 --hash=sha256:" + "0" * 64 + "\n")
    status, output, messages = tree.run(PIP_NO_INDEX="1")
    tree.requirements.write_text("# nothing\n")

    _, _, next_messages = tree.run()

    assert status == 1
    assert output == ""
    assert "the packages could not be installed" in messages
    assert "Making a virtual environment" in next_messages
    assert tree.run()[2] == ""


def make_wheel(folder: Path) -> str:
    """Make a wheel of one module; return the requirement that installs it."""
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return f"tiny @ {wheel.as_uri()}"


def test_only_packages_with_the_pinned_hash_are_installed(installed_tree: Tree, tmp_path: Path) -> None:
    requirement = make_wheel(tmp_path)
    digest = hashlib.sha256((tmp_path / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()

    installed_tree.requirements.write_text(f"{requirement} --hash=sha256:{'0' * 64}\n")
    refused, _, messages = installed_tree.run()
    installed_tree.requirements.write_text(f"{requirement} --hash=sha256:{digest}\n")
    accepted, _, _ = installed_tree.run()

    assert (refused, accepted) == (1, 0)
    assert "DO NOT MATCH THE HASHES" in messages
    assert list(installed_tree.folder.glob(".venv/lib/python3*/site-packages/tiny.py"))


def test_an_environment_whose_python_is_gone_is_made_anew(installed_tree: Tree) -> None:
    python = installed_tree.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")

    assert installed_tree.report()["prefix"] == str(installed_tree.folder / ".venv")


def test_an_environment_whose_python_was_upgraded_is_installed_again(installed_tree: Tree) -> None:
    stamp = installed_tree.folder / ".venv" / ".requirements"
    stamp.write_text(stamp.read_text().replace("python3", "python2"))

    assert "Installing the packages" in installed_tree.run()[2]


def test_the_environment_may_lie_elsewhere(tree: Tree, tmp_path: Path) -> None:
    report = tree.report(MISSION_DASHBOARD_VENV=str(tmp_path / "elsewhere"))

    assert report["prefix"] == str(tmp_path / "elsewhere")
    assert not (tree.folder / ".venv").exists()


def test_a_folder_that_is_no_environment_is_never_cleared(tree: Tree, tmp_path: Path) -> None:
    precious = tmp_path / "home" / "letter.txt"
    precious.parent.mkdir()
    precious.write_text("dear")

    status, _, messages = tree.run(MISSION_DASHBOARD_VENV=str(precious.parent))

    assert status == 1
    assert "neither empty nor a virtual environment" in messages
    assert precious.read_text() == "dear"


def test_two_starts_at_once_make_one_environment(tree: Tree) -> None:
    processes = [tree.start(), tree.start()]

    results = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert sorted("Making a virtual" in messages for _, messages in results) == [False, True]


def test_a_python_that_is_too_old_is_refused(tree: Tree, tmp_path: Path) -> None:
    old = fake_python(tmp_path / "old", "exit 1")

    status, output, messages = tree.run(PYTHON=old)

    assert status == 1
    assert messages.startswith(f"Mission Dashboard cannot start: PYTHON is set to '{old}', which is not Python")
    assert output == ""


def test_a_python_that_is_not_there_is_named(tree: Tree) -> None:
    status, _, messages = tree.run(PYTHON="/nowhere/python3")

    assert status == 1
    assert "PYTHON is set to '/nowhere/python3', which is not there." in messages


def test_a_machine_without_python_is_told_so(tree: Tree, tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", "sh", "dirname", "readlink", "cksum", "mkdir", "ls", "cat")

    status, _, messages = tree.run(PYTHON="", PATH=path)

    assert status == 1
    assert messages == (
        "Mission Dashboard cannot start: it needs Python 3.10 or newer; install it, or set PYTHON to the path of one.\n"
    )


def test_a_newer_python_is_found_when_python3_is_too_old(tree: Tree, tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", "sh", "dirname", "readlink", "cksum", "mkdir", "ls", "cat", "mv", "rm")
    fake_python(tmp_path / "bin", "exit 1")
    # Not a symlink: through one, the interpreter of an environment would not find that environment.
    newer = tmp_path / "bin" / "python3.12"
    newer.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    newer.chmod(0o755)

    assert tree.report(PYTHON="", PATH=path)["prefix"] == str(tree.folder / ".venv")


def test_a_python_without_venv_names_the_package_to_install(tree: Tree, tmp_path: Path) -> None:
    bare = fake_python(tmp_path / "bare", "case $2 in *ensurepip*) exit 1 ;; esac")

    status, _, messages = tree.run(PYTHON=bare)

    assert status == 1
    assert "install the package python3-venv" in messages


def test_a_clone_without_requirements_is_incomplete(tree: Tree) -> None:
    tree.requirements.unlink()

    status, _, messages = tree.run()

    assert status == 1
    assert "is the clone complete?" in messages


@pytest.fixture
def public_tree() -> Iterator[Tree]:
    """A tree that any user may read, unlike those below pytest's own folder."""
    parent = Path(tempfile.mkdtemp(prefix="md-test-"))
    parent.chmod(0o755)
    yield Tree(parent / "clone")
    shutil.rmtree(parent)


@needs_root
def test_a_folder_one_may_not_write_is_named(public_tree: Tree) -> None:
    refused = subprocess.run(
        [str(public_tree.script)],
        capture_output=True,
        text=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
    )

    assert refused.returncode == 1
    assert refused.stderr == (
        f"Mission Dashboard cannot start: {public_tree.folder}/.venv cannot be written; "
        "set MISSION_DASHBOARD_VENV to a folder you may write.\n"
    )
