"""What the command reads of the environment, and sets in that of the programs it starts.

The server's settings are read by `config`, the client's by `client.settings`.
"""

from __future__ import annotations

import os

# Not imported from the client: what loads it cannot become the server any more.
URL = "MISSION_DASHBOARD_URL"
KEY = "MISSION_DASHBOARD_KEY"
MISSION = "MISSION_DASHBOARD_MISSION"
"""Tells a wrapped program, and what it starts, the id of its mission."""


def set_server(host: str | None, port: str | None, data_dir: str | None, dsn: str | None) -> None:
    """Let options of the command line win over the server's settings."""
    given = {
        "MISSION_DASHBOARD_HOST": host,
        "MISSION_DASHBOARD_PORT": port,
        "MISSION_DASHBOARD_DATA_DIR": data_dir,
        "POSTGRES_DSN": dsn,
    }
    os.environ.update({name: value for name, value in given.items() if value is not None})


def named_url() -> str | None:
    """Return the dashboard's address if the environment has one."""
    return os.environ.get(URL) or None


def outer_mission() -> str | None:
    """Return the mission that the program which started us works for."""
    return os.environ.get(MISSION) or None


def for_program(mission_id: str, url: str, key: str | None) -> dict[str, str]:
    """Return the environment for a wrapped program."""
    return {**os.environ, MISSION: mission_id, URL: url, **({KEY: key} if key else {})}


def server_settings() -> dict[str, str]:
    """Return the environment as the server would read it, without letting it make a secret key."""
    return {
        "MISSION_DASHBOARD_SECRET_KEY": "nobody looks at this one",
        "MISSION_DASHBOARD_ADMIN_KEY": "nor-does-anybody-look-here",
        **os.environ,
    }
