"""The price book: the user's file, the package's catalogue, dates, and what stays unpriced."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import Usage as PackageUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from mission_dashboard.errors import StartupError
from mission_dashboard.price_catalogue import _COMPACT_DATE, _find_model, _providers, _rates_of, find
from mission_dashboard.prices import PriceBook, Rates, WrongPriceFile, parse_price_file
from mission_dashboard.usage import ModelUsage

NOW = datetime(2026, 6, 15, 12, tzinfo=timezone.utc)
MILLION = ModelUsage(1_000_000, 0, 1_000_000, 0)


def at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=timezone.utc)


def book(tmp_path: Path, text: str) -> PriceBook:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    found = PriceBook(path, look_every_s=0)
    found.refresh()
    return found


def test_every_class_has_its_price_and_no_token_is_paid_twice() -> None:
    rates = Rates(input=Decimal(2), cached=Decimal("0.5"), output=Decimal(8), reasoning=Decimal(10))

    cost = rates.cost(ModelUsage(1000, 400, 200, 50))

    assert cost == (600 * Decimal(2) + 400 * Decimal("0.5") + 150 * Decimal(8) + 50 * Decimal(10)) / 1_000_000


def test_without_prices_of_their_own_cached_costs_as_input_and_reasoning_as_output() -> None:
    plain = Rates(input=Decimal(2), output=Decimal(8))

    assert plain.cost(ModelUsage(1000, 400, 200, 50)) == plain.cost(ModelUsage(1000, 0, 200, 0))


def test_a_class_that_was_used_and_has_no_price_leaves_all_unpriced() -> None:
    only_input = Rates(input=Decimal(2), output=None)

    assert only_input.cost(ModelUsage(1000, 0, 1, 0)) is None
    assert only_input.cost(ModelUsage(1000, 0, 0, 0)) == Decimal("0.002")


def test_the_users_row_wins_over_the_package(tmp_path: Path) -> None:
    mine = book(tmp_path, '[[price]]\nmodel = "gpt-4o"\ninput = 1\noutput = 2.5\n')

    assert mine.cost("gpt-4o", MILLION, NOW) == Decimal("3.5")
    assert PriceBook().cost("gpt-4o", MILLION, NOW) == Decimal("12.5")


def test_a_local_model_costs_what_the_user_says_be_it_nothing(tmp_path: Path) -> None:
    mine = book(tmp_path, '[[price]]\nmodel = "llama3*"\ninput = 0\noutput = 0\n')

    assert mine.cost("llama3.1:8b", MILLION, NOW) == 0
    assert mine.cost("qwen2.5:7b", MILLION, NOW) is None


def test_a_row_can_say_that_a_model_has_no_price(tmp_path: Path) -> None:
    mine = book(tmp_path, '[[price]]\nmodel = "gpt-4o"\npriced = false\n')

    assert mine.cost("gpt-4o", MILLION, NOW) is None
    assert mine.cost("gpt-4o-mini", MILLION, NOW) is not None


def test_the_package_can_be_switched_off(tmp_path: Path) -> None:
    assert book(tmp_path, "use_genai_prices = false\n").cost("gpt-4o", MILLION, NOW) is None


def test_prices_hold_from_their_day_on(tmp_path: Path) -> None:
    mine = book(
        tmp_path,
        '[[price]]\nmodel = "m"\neffective_from = 2026-03-01\ninput = 2\noutput = 0\n'
        '[[price]]\nmodel = "m"\neffective_from = 2026-01-01\ninput = 1\noutput = 0\n',
    )

    costs = [mine.cost("m", MILLION, at(*day)) for day in ((2025, 12, 31), (2026, 1, 1), (2026, 2, 28), (2026, 3, 1))]

    assert costs == [None, 1, 1, 2]


def test_a_day_begins_in_utc(tmp_path: Path) -> None:
    mine = book(tmp_path, '[[price]]\nmodel = "m"\neffective_from = 2026-03-01\ninput = 2\noutput = 0\n')

    assert mine.cost("m", MILLION, datetime.fromisoformat("2026-02-28T23:30:00-01:00")) == 2
    assert mine.cost("m", MILLION, datetime.fromisoformat("2026-03-01T00:30:00+01:00")) is None


def test_a_name_goes_before_a_pattern_and_a_long_pattern_before_a_short_one(tmp_path: Path) -> None:
    rows = (("*", 1), ("local/*", 2), ("local/big-*", 3), ("local/big-one", 4))
    mine = book(tmp_path, "".join(f'[[price]]\nmodel = "{model}"\ninput = {n}\noutput = 0\n' for model, n in rows))

    models = ("other", "local/small", "LOCAL/Big-Two", "local/big-one")

    assert [mine.cost(model, MILLION, NOW) for model in models] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]\n", "line 1"),
        ("price = 3\n", r"\[\[price\]\]"),
        ("prices = 3\n", "'prices' is not known"),
        ('use_genai_prices = "no"\n', "true or false"),
        ("[[price]]\ninput = 1\noutput = 1\n", r"Row 1 \(line 1\): 'model' must be"),
        ('\n[[price]]\nmodel = "a"\ninput = 1\n', r"Row 1 \(line 2\): it needs 'input' and 'output'"),
        ('[[price]]\nmodel = "a"\ninput = -1\noutput = 1\n', "'input' must be from 0"),
        ('[[price]]\nmodel = "a"\ninput = nan\noutput = 1\n', "'input' must be from 0"),
        ('[[price]]\nmodel = "a"\ninput = "1"\noutput = 1\n', "'input' must be a number"),
        ('[[price]]\nmodel = "a"\ninput = true\noutput = 1\n', "'input' must be a number"),
        ('[[price]]\nmodel = "a"\ninput = 1\noutput = 1\nprompt = 1\n', "'prompt' is not known"),
        ('[[price]]\nmodel = "a"\ninput = 1\noutput = 1\neffective_from = "2026-01-01"\n', "without quotes"),
        ('[[price]]\nmodel = "a"\ninput = 1\noutput = 1\neffective_from = 2026-01-01T00:00:00Z\n', "without quotes"),
        ('[[price]]\nmodel = "a"\npriced = false\ninput = 1\n', "priced = false and 'input'"),
        (
            '[[price]]\nmodel = "a"\ninput = 1\noutput = 1\n' * 2,
            r"Row 2 \(line 5\): says 'a' for the same date as row 1",
        ),
    ],
)
def test_a_wrong_row_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(WrongPriceFile, match=said):
        parse_price_file(text)


def test_all_wrong_rows_are_told_at_once() -> None:
    with pytest.raises(WrongPriceFile) as caught:
        parse_price_file(
            '[[price]]\nmodel = "a"\n[[price]]\nmodel = "b"\ninput = 1\noutput = 2\n[[price]]\nmodel = 3\n'
        )

    assert [line.split()[:2] for line in str(caught.value).splitlines()] == [["Row", "1"], ["Row", "3"]]


def test_a_wrong_file_keeps_the_server_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodel = "a"\n')

    with pytest.raises(StartupError, match=r"(?s)prices\.toml is wrong.*Row 1 \(line 1\)"):
        PriceBook.open(path)


def test_without_a_file_the_package_alone_is_asked(tmp_path: Path) -> None:
    assert PriceBook.open(tmp_path / "prices.toml").cost("gpt-4o", MILLION, NOW) == Decimal("12.5")


def test_an_edit_counts_at_once_and_a_wrong_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = book(tmp_path, '[[price]]\nmodel = "m"\ninput = 1\noutput = 0\n')
    path = tmp_path / "prices.toml"

    _edit(path, '[[price]]\nmodel = "m"\ninput = 2\noutput = 0\n')
    assert mine.cost("m", MILLION, NOW) == 2

    with caplog.at_level(logging.ERROR):
        _edit(path, '[[price]]\nmodel = "m"\ninput = cheap\n')
        assert mine.cost("m", MILLION, NOW) == 2
        assert mine.cost("m", MILLION, NOW) == 2
    assert len(caplog.records) == 1
    assert "the prices read before stay" in caplog.text

    path.unlink()
    assert mine.cost("m", MILLION, NOW) is None


def _edit(path: Path, text: str) -> None:
    before = path.stat().st_mtime_ns
    path.write_text(text)
    if path.stat().st_mtime_ns == before:  # a clock coarser than this test
        os.utime(path, ns=(before + 1, before + 1))


NEVER_PRICED = (
    "llama3.1:8b",
    "deepseek-r1:8b",
    "ollama/llama3",
    "ollama/deepseek-r1",
    "my-openai-proxy/gpt-4o",
    "local/gpt-4o",
    "deepseek-ai/deepseek-v3",
    "my-gpt-4o-finetune",
    "gpt-9",
    "nonsense",
    "/",
    "openai/",
    "",
)


@pytest.mark.parametrize("model", NEVER_PRICED)
def test_a_name_that_the_package_does_not_know_is_unpriced(model: str) -> None:
    assert PriceBook().rates(model, NOW) is None


@pytest.mark.parametrize(
    ("model", "same_as"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        (" gpt-4o ", "gpt-4o"),
        ("gemini/gemini-2.5-flash", "gemini-2.5-flash"),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
    ],
)
def test_a_name_with_its_provider_is_the_same_model(model: str, same_as: str) -> None:
    found = PriceBook().rates(model, NOW)

    assert found is not None
    assert found == PriceBook().rates(same_as, NOW)


@given(
    model=st.sampled_from(("gpt-4o", "gpt-4o-mini", "o3", "claude-sonnet-4-5", "deepseek-chat")),
    cached=st.integers(0, 5_000),
    fresh=st.integers(0, 5_000),
    output=st.integers(0, 10_000),
    moment=st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31)).map(
        lambda when: when.replace(tzinfo=timezone.utc)
    ),
)
def test_costs_are_those_of_the_package(model: str, cached: int, fresh: int, output: int, moment: datetime) -> None:
    ours = PriceBook().cost(model, ModelUsage(cached + fresh, cached, output, 0), moment)

    usage = PackageUsage(input_tokens=cached + fresh, cache_read_tokens=cached, output_tokens=output)
    assert ours == calc_price(usage, model, genai_request_timestamp=moment).total_price


def test_a_model_that_is_paid_by_the_call_is_unpriced() -> None:
    by_call = [
        f"{provider.id}/{model.id}"
        for provider in get_snapshot().providers
        for model in provider.models
        if getattr(model.get_prices(NOW), "requests_kcount", None) is not None
    ]

    assert by_call
    for name in by_call:
        found = find(name.lower())
        assert found is None or found(NOW) is None, name


def test_the_index_finds_what_the_package_finds() -> None:
    snapshot = get_snapshot()
    some = [model.id.lower() for provider in snapshot.providers for model in provider.models][::7]
    variants = [f"{name}{end}" for name in some[::5] for end in ("-latest", "-20250514", "-x", "-2025-05-14")]

    for provider in snapshot.providers:
        models = _providers()[provider.id]
        own = [model.id.lower() for model in provider.models]
        for name in (*own, *some[::3], *variants):
            theirs = provider.find_model(name, all_providers=snapshot.providers)
            ours = _find_model(models, name) or _find_model(models, _COMPACT_DATE.sub(r"-\1-\2-\3", name))
            assert ours is theirs, (provider.id, name)


def test_names_without_a_provider_belong_to_the_one_that_the_package_says() -> None:
    snapshot = get_snapshot()
    names = {model.id.lower() for provider in snapshot.providers for model in provider.models}

    for name in sorted(name for name in names if "/" not in name and ":" not in name)[::3]:
        try:
            _, model = snapshot.find_provider_model(name, None, None, None)
        except LookupError:
            assert find(name) is None, name
        else:
            found = find(name)
            assert found is not None, name
            assert found(NOW) == _rates_of(model.get_prices(NOW)), name


def test_many_names_are_not_kept_for_ever() -> None:
    prices = PriceBook()

    for number in range(5_000):
        assert prices.rates(f"made-up-{number}", NOW) is None

    assert len(prices._rows) <= 2_000 and len(prices._catalogued) <= 2_000
