"""Does what the Dockerfile says without a container engine: each stage on a layer over this machine's own files.

Two things are taken from this machine rather than fetched: Debian's packages and the Python packages. Needs root.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Stage:
    """What one FROM begins: its instructions, continued lines joined."""

    base: str
    name: str
    said: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [what for name, what in self.said if name == instruction]

    def one(self, instruction: str) -> str:
        (what,) = self.all(instruction)
        return what

    def command(self, instruction: str) -> list[str]:
        """Return the words of a CMD, ENTRYPOINT or HEALTHCHECK in exec form."""
        what = self.one(instruction)
        return list(json.loads(what[what.index("[") :]))

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for said in self.all("ENV") for pair in shlex.split(said))


def read_stages(dockerfile: Path) -> list[Stage]:
    text = "\n".join(line for line in dockerfile.read_text().splitlines() if not line.startswith("#"))
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        name, what = line.split(None, 1)
        if name == "FROM":
            base, _, own = what.partition(" AS ")
            stages.append(Stage(base, own))
        else:
            stages[-1].said.append((name, what))
    return stages


COPY = """copy() {
    if [ -d "$1" ]; then mkdir -p "$2"; cp -a "$1/." "$2"; else cp -a "$1" "$2"; fi
}"""


def _made(stage: Stage, root: Path, roots: Mapping[str, Path], context: Path) -> list[str]:
    """Return the shell lines that do in ``root`` what a stage says."""
    base = Path(sys.base_prefix)
    lines = [
        f"mkdir -p {root}.upper {root}.work {root}",
        f"mount -t overlay overlay -o lowerdir=/,upperdir={root}.upper,workdir={root}.work {root}",
        f"mount -t proc proc {root}/proc",
        f"mount --rbind /dev {root}/dev",
        f"mkdir -p {root}/packages",
        f"mount --bind {sysconfig.get_path('purelib')} {root}/packages",
        # The Python of this machine may lie in a folder that others cannot enter.
        *(f"chmod o+x {root}{folder}" for folder in (base, *base.parents)),
    ]
    environment = {"PATH": f"{base}/bin:{SYSTEM_PATH}"}
    folder = "/"
    for name, what in stage.said:
        if name == "ENV":
            environment.update(pair.split("=", 1) for pair in shlex.split(what))
        elif name == "WORKDIR":
            folder = what
            lines.append(f"mkdir -p {root}{folder}")
        elif name == "COPY":
            *options, source, target = what.split()
            origin = roots[options[0].partition("=")[2]] if options else context
            end = target if target.startswith("/") else f"{folder}/{target}"
            lines.append(f"copy {origin}/{source.strip('/')} {root}{end}")
        elif name == "RUN" and what.startswith("apt-get "):
            lines.append("command -v tini tini-static")
        elif name == "RUN" and what.startswith("python -m pip "):
            lines.append(f"echo /packages > $(echo {root}{folder}/.venv/lib/python*/site-packages)/packages.pth")
        elif name == "RUN":
            given = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
            lines.append(f"chroot {root} /usr/bin/env -i {given} sh -ec {shlex.quote(f'cd {folder}; {what}')}")
    return lines


class Container:
    """The image's process: process 1, as the image's user, all files but those of /data and /tmp read only."""

    def __init__(self, dockerfile: Path, folder: Path, **environment: str) -> None:
        stages = read_stages(dockerfile)
        self.image = stages[-1]
        roots = {stage.name: folder / (stage.name or "image") for stage in stages}
        self._inside = f"{folder}/image"
        self._environment = {"HOME": "/data", **self.image.environment(), **environment}
        user, _, group = self.image.one("USER").partition(":")
        command = [*self.image.command("ENTRYPOINT"), *self.image.command("CMD")]
        lines = [
            "set -eu",
            COPY,
            *(line for stage in stages for line in _made(stage, roots[stage.name], roots, dockerfile.parent)),
            f"mount -t tmpfs -o size=1g,mode=1777 tmpfs {self._inside}/tmp",
            # An anonymous volume: what the image has there, with its owner.
            f"mkdir {folder}/volume; cp -a {self._inside}/data/. {folder}/volume",
            f"chown --reference={self._inside}/data {folder}/volume",
            f"chmod --reference={self._inside}/data {folder}/volume",
            f"mount --bind {folder}/volume {self._inside}/data",
            f"mount -o remount,ro {self._inside}",
            f"exec chroot --userspec={user}:{group} --groups= {self._inside} {shlex.join(self._said(command))}",
        ]
        self.log = folder / "container.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(lines)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._user = ("--setuid", user, "--setgid", group)

    def _said(self, command: Sequence[str]) -> list[str]:
        given = [f"{name}={value}" for name, value in self._environment.items()]
        enter = f'cd {self.image.one("WORKDIR")} && exec "$@"'
        return ["/usr/bin/env", "-i", *given, "/bin/sh", "-c", enter, "sh", *command]

    @property
    def first(self) -> psutil.Process:
        """Process 1 of the container, seen from outside."""
        (first,) = psutil.Process(self._process.pid).children()
        return first

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the image's user."""
        enter = ["nsenter", "--target", str(self.first.pid), "--mount", "--pid", "--root", *self._user]
        return subprocess.run([*enter, *self._said(command)], capture_output=True, text=True, timeout=30, check=False)

    def is_healthy(self) -> bool:
        """Return whether it runs and the image's own health check passes; fail where it has ended."""
        assert self._process.poll() is None, self.log.read_text()
        # Before that its file system is still being made.
        started = [child.name() for child in psutil.Process(self._process.pid).children()] == [
            Path(self.image.command("ENTRYPOINT")[0]).name
        ]
        return started and self.run(*self.image.command("HEALTHCHECK")).returncode == 0

    def stop(self) -> int:
        """Send what the image wants to be stopped with, and return the exit status, which must come within 5 s."""
        self.first.send_signal(signal.Signals[self.image.one("STOPSIGNAL")])
        return self._process.wait(5)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
