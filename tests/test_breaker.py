"""Who asks Redis, and when, while it answers, is away, or is slow."""

from __future__ import annotations

import threading
import time

import pytest

from mission_dashboard.shared import breaker
from mission_dashboard.shared.breaker import SLOW_IN_A_ROW, Breaker


class Away(Exception):
    """What the one who is asked raises while it is away."""


class Refused(Away):
    """What it raises while it is there and will not."""


class Asked:
    """Answers, or does not; how often it was asked is counted."""

    def __init__(self) -> None:
        self.times = 0
        self.is_away = False
        self.refuses = False
        self.takes_s = 0.0

    def __call__(self) -> str:
        self.times += 1
        time.sleep(self.takes_s)
        if self.is_away:
            raise Away("gone")
        if self.refuses:
            raise Refused("full")
        return "there"


def ask(asking: Breaker, asked: Asked) -> str:
    return asking.ask(asked, lambda: "without")


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Breaker:
    monkeypatch.setattr(breaker, "ASK_AGAIN_S", 0.2)
    monkeypatch.setattr(breaker, "SLOW_S", 0.02)
    return Breaker("do without", Away, Refused)


def test_who_is_away_is_asked_once_in_a_while_and_by_all_once_it_is_back(
    asking: Breaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    asked = Asked()
    asked.is_away = True
    assert [ask(asking, asked) for _ in range(3)] == ["without"] * 3
    time.sleep(0.21)
    assert [ask(asking, asked) for _ in range(3)] == ["without"] * 3
    assert asked.times == 2
    asked.is_away = False
    time.sleep(0.21)
    assert [ask(asking, asked) for _ in range(3)] == ["there"] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "Redis is away, do without: gone",
        "Redis is back; no longer: do without",
    ]


def test_of_many_that_ask_at_once_one_finds_out(asking: Breaker) -> None:
    asked = Asked()
    asking.leave("test")
    time.sleep(0.21)
    asked.takes_s = 0.1
    threads = [threading.Thread(target=ask, args=(asking, asked)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked.times == 1


def test_who_is_slow_is_away_until_it_is_fast(asking: Breaker) -> None:
    asked = Asked()
    asked.takes_s = 0.03
    assert [ask(asking, asked) for _ in range(SLOW_IN_A_ROW)] == ["there"] * SLOW_IN_A_ROW
    for _ in range(2):
        assert ask(asking, asked) == "without"
        time.sleep(0.21)
        assert ask(asking, asked) == "there"  # who finds out has its answer
    assert ask(asking, asked) == "without"
    asked.takes_s = 0.0
    time.sleep(0.21)
    assert [ask(asking, asked) for _ in range(2)] == ["there"] * 2


def test_one_who_left_for_an_error_is_not_back_with_a_slow_answer(asking: Breaker) -> None:
    asked = Asked()
    asking.leave("test")
    time.sleep(0.21)
    asked.takes_s = 0.03
    assert ask(asking, asked) == "there"
    assert ask(asking, asked) == "without"


def test_slow_answers_count_only_in_a_row(asking: Breaker) -> None:
    asked = Asked()
    for _ in range(SLOW_IN_A_ROW):
        asked.takes_s = 0.03
        assert ask(asking, asked) == "there"
        asked.takes_s = 0.0
        assert ask(asking, asked) == "there"


def test_what_is_not_of_redis_is_not_taken_for_its_absence(asking: Breaker) -> None:
    with pytest.raises(ZeroDivisionError):
        asking.ask(lambda: 1 // 0, lambda: 0)
    assert asking.ask(lambda: 1, lambda: 0) == 1


def test_where_one_kind_of_question_is_refused_no_other_brings_it_back(
    asking: Breaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reads, writes = Asked(), Asked()
    writes.refuses = True

    def both() -> list[str]:
        return [asking.ask(asked, lambda: "without", kind) for asked, kind in ((reads, "read"), (writes, "write"))]

    assert both() == ["there", "without"]
    for _ in range(3):
        time.sleep(0.21)
        assert both() == ["without", "without"]
    assert writes.times == 4
    writes.refuses = False
    time.sleep(0.21)
    both()
    assert both() == ["there", "there"]
    assert len(caplog.records) == 2


def test_one_who_refused_and_then_went_away_is_back_with_any_answer(asking: Breaker) -> None:
    reads, writes = Asked(), Asked()
    writes.refuses = True
    assert asking.ask(writes, lambda: "without", "write") == "without"
    writes.is_away = True
    time.sleep(0.21)
    assert asking.ask(writes, lambda: "without", "write") == "without"
    time.sleep(0.21)
    assert asking.ask(reads, lambda: "without", "read") == "there"
