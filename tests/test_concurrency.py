"""Green threads of one real one do not stop each other."""

from __future__ import annotations

import os
import subprocess
import sys

from dashboards import ROOT

LOOKS_UP = """
import sys, threading, time
from mission_dashboard.concurrency import prepare
prepare("eventlet")
import _socket, socket
from eventlet.patcher import original
def look_up(name, *rest, of=_socket.getaddrinfo):
    original("time").sleep(1 if name == "away.example" else 0)
    return of("127.0.0.1", *rest)
_socket.getaddrinfo = look_up
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
assert socket.getaddrinfo("away.example", 6379)[0][4] == ("127.0.0.1", 6379)
time.sleep(0.02)
assert len(ticks) > 20, len(ticks)
"""


def test_looking_a_name_up_stops_nobody_else() -> None:
    subprocess.run([sys.executable, "-c", LOOKS_UP], env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True)


STOPS = """
import os, threading, time
from mission_dashboard.concurrency import Server, listen, prepare
prepare("eventlet")
from eventlet.hubs import trampoline
class Green:
    async_mode = "eventlet"
listener = listen("127.0.0.1", 0)
number = listener.fileno()
server = Server(None, Green, listener)
threading.Thread(target=server.run, daemon=True).start()
time.sleep(0.1)
server.stop()
reading, writing = os.pipe()
os.dup2(reading, number)
try:
    trampoline(number, read=True, timeout=0.1, timeout_exc=TimeoutError)
except TimeoutError:
    pass
"""


def test_the_number_of_a_closed_listener_may_be_another_connections() -> None:
    subprocess.run([sys.executable, "-c", STOPS], env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True)
