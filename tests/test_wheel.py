"""The project installed from a wheel: the command without the server's packages, and the page with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from pathlib import Path

import pytest

from commands import environment, wait_for
from dashboards import ROOT, Dashboard, free_port

pytestmark = pytest.mark.slow

PACKED = ("src", "templates", "static", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


def pip(*arguments: str, python: str = sys.executable) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built in a copy: setuptools leaves its traces beside the sources.
    folder = tmp_path_factory.mktemp("tree")
    for name in PACKED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, folder)
    pip("wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder / "dist"), str(folder))
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def client_only(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel and what it needs, alone."""
    venv = tmp_path_factory.mktemp("client")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    pip("install", "--quiet", str(wheel), python=str(venv / "bin" / "python"))
    return venv / "bin"


def run(program: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    variables = environment(**more)
    del variables["PYTHONPATH"]
    return subprocess.run(
        [str(program), *arguments], env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_wheel_holds_all_that_runs(wheel: Path) -> None:
    sources = [
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.suffix in (".py", ".sql")
    ]
    page = [
        f"mission_dashboard/page/{path.relative_to(ROOT).as_posix()}"
        for name in ("templates", "static")
        for path in (ROOT / name).rglob("*")
        if path.is_file()
    ]

    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())

    assert len(page) > 50
    assert set(sources) | set(page) <= held


def test_the_command_works_without_the_servers_packages(client_only: Path, data_dir: Path, dsn: str) -> None:
    command = client_only / "mission-dashboard"
    server = Dashboard(data_dir, POSTGRES_DSN=dsn).start()
    try:
        server.create("From the wheel")

        shown = run(command, "--help")
        listed = run(command, "list", "--json", MISSION_DASHBOARD_URL=server.url)
        wrapped = run(command, "run", "--", "sh", "-c", "exit 3", MISSION_DASHBOARD_URL=server.url)
        examined = run(command, "doctor", MISSION_DASHBOARD_URL=server.url)
    finally:
        server.stop()

    assert shown.returncode == 0 and "mission-dashboard run -- python train.py" in shown.stdout
    assert [mission["title"] for mission in json.loads(listed.stdout)["missions"]] == ["From the wheel"]
    assert wrapped.returncode == 3
    assert examined.returncode == 0 and 'pip install "mission-dashboard[server]"' in examined.stdout
    for missing in ("flask", "psycopg2", "pydantic", "mcp"):
        assert run(client_only / "python", "-c", f"import {missing}").returncode == 1


def test_commands_that_need_more_say_what_to_install(client_only: Path) -> None:
    command = client_only / "mission-dashboard"

    serving = run(command, "serve")
    mcp = run(command, "--json", "mcp")

    assert serving.returncode == 1
    assert 'Install them: pip install "mission-dashboard[server]"' in serving.stderr
    assert 'pip install "mission-dashboard[mcp]"' in json.loads(mcp.stdout)["error"]


@pytest.fixture
def with_server(wheel: Path, tmp_path: Path) -> Path:
    """The folder of programs of an environment with the wheel, that borrows all packages of this one."""
    venv = tmp_path / "server"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    python = venv / "bin" / "python"
    pip("install", "--quiet", "--no-deps", str(wheel), python=str(python))
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    (Path(own) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + os.linesep)
    return venv / "bin"


def test_the_installed_server_serves_the_page(with_server: Path, data_dir: Path, dsn: str) -> None:
    url = f"http://127.0.0.2:{free_port()}"
    variables = environment(POSTGRES_DSN=dsn, MISSION_DASHBOARD_LOG_DIR=str(data_dir / "logs"))
    del variables["PYTHONPATH"]
    # To another address of loopback than the first it says how those elsewhere get in.
    options = ["--host", "127.0.0.2", "--port", url.rsplit(":", 1)[1], "--data-dir", str(data_dir)]
    serving = subprocess.Popen(
        [str(with_server / "mission-dashboard"), "serve", *options],
        env=variables,
        cwd=data_dir,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_for(lambda: _answer(f"{url}/api/health/ready"))
        page = _answer(f"{url}/")
        script = page.split('src="')[1].split('"')[0]

        assert "Mission Dashboard" in page
        assert "document" in _answer(url + script)
    finally:
        serving.terminate()
        hello, _ = serving.communicate(timeout=30)
    assert "get keys of their own: mission-dashboard keys" in hello


def _answer(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
