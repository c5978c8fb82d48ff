"""The prices of hosted models, from the genai-prices package: its own data, nothing is fetched.

Only a name that says which model of which provider it is has a price. `openai/gpt-4o` and `gpt-4o` do; a name with
another owner before the slash, and one with a size after a colon, as local servers write it, are left unpriced.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from mission_dashboard.prices import Rates

# What routers call the providers that the package knows under another name.
ALIASES = {
    "gemini": "google",
    "vertex_ai": "google",
    "google_ai": "google",
    "bedrock": "aws",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "xai": "x-ai",
    "mistralai": "mistral",
    "azure_openai": "azure",
}
FEES = ("requests_kcount", "input_text_messages_kcount", "audio_hours", "input_mchars")
"""Prices of something else than tokens that every call pays: usage cannot tell how much of it there was."""


def find(name: str) -> Callable[[datetime], Rates | None] | None:
    """Return what tells a model's prices at a moment; ``None`` for a model that is not known. Lower case."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    owner, slash, rest = name.partition("/")
    provider = ALIASES.get(owner, owner) if slash else None
    if slash and not (rest and any(one.id == provider for one in snapshot.providers)):
        return None
    if not slash and ":" in name:
        return None
    try:
        _, model = snapshot.find_provider_model(rest if slash else name, None, provider, None)
    except LookupError:
        return None
    return lambda at: _rates_of(model.get_prices(at))


def _rates_of(prices: Any) -> Rates | None:
    if any(getattr(prices, fee, None) is not None for fee in FEES):
        return None
    price_of = {name: _base(getattr(prices, f"{name}_mtok", None)) for name in _NAMES}
    return Rates(
        input=price_of["input"],
        cached=price_of["cache_read"],
        output=price_of["output"],
        reasoning=price_of["output_reasoning"],
    )


_NAMES = ("input", "cache_read", "output", "output_reasoning")


def _base(price: Any) -> Decimal | None:
    """Return a price without its steps for long prompts: those depend on each call, and totals do not tell them."""
    base: Decimal | None = getattr(price, "base", price)
    return base
