"""The log file."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

from mission_dashboard.logs import _LogFile


def test_a_full_log_file_is_followed_by_another_and_the_oldest_goes(tmp_path: Path) -> None:
    handler = _LogFile(tmp_path / "app.log", maxBytes=1_000, backupCount=2, encoding="utf-8")
    for number in range(100):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "line %03d " + "é" * 40, (number,), None))
    handler.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.log", "app.log.1", "app.log.2"]
    kept = [
        line for name in ("app.log.2", "app.log.1", "app.log") for line in (tmp_path / name).read_text().splitlines()
    ]
    assert kept[-1] == f"line 099 {'é' * 40}"
    assert [line[5:8] for line in kept] == [f"{number:03}" for number in range(100 - len(kept), 100)]
    assert all(1_000 <= (tmp_path / f"app.log.{age}").stat().st_size < 1_100 for age in (1, 2))


def test_a_log_file_that_could_not_be_rotated_goes_on(tmp_path: Path) -> None:
    handler = _LogFile(tmp_path / "app.log", maxBytes=100, backupCount=1, encoding="utf-8")
    in_the_way = tmp_path / "app.log.1"
    (in_the_way / "child").mkdir(parents=True)
    logging.raiseExceptions, before = False, logging.raiseExceptions
    try:
        for number in range(20):
            handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "line %03d", (number,), None))
            if number == 12:
                (in_the_way / "child").rmdir()
                in_the_way.rmdir()
    finally:
        logging.raiseExceptions = before
    handler.close()
    assert (tmp_path / "app.log").read_text().splitlines()[-1] == "line 019"
    assert in_the_way.is_file()


def test_a_disk_that_is_full_is_told_once_and_so_is_that_the_log_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = _LogFile(tmp_path / "app.log", maxBytes=10_000, encoding="utf-8")
    handler.terminal = caplog.handler
    written = handler.stream
    with contextlib.suppress(OSError), open("/dev/full", "a") as full:
        handler.stream = full
        for _ in range(10):
            handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "a line", (), None))
    handler.stream = written
    for _ in range(10):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "a line", (), None))
    handler.close()

    assert [message.rsplit("app.log ")[1][:6] for message in caplog.messages] == ["is not", "goes o"]
    assert capsys.readouterr().err == ""
