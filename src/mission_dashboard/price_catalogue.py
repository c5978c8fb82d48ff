"""The prices of hosted models, from the genai-prices package: its own data, nothing is fetched.

Only a name that says which model of which provider it is has a price. `openai/gpt-4o` and `gpt-4o` do; a name with
another owner before the slash, and one with a size after a colon, as local servers write it, are left unpriced.

The package's own search takes up to 2.5 ms for a name that it does not know, and remembers it for ever; names come from
callers and are looked up while writes wait, so the search here goes through an index and remembers nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
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
_CLASSES = ("input", "cache_read", "output", "output_reasoning")
_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=-|:|$)", re.ASCII)

Matches = Callable[[str], bool]


class Models:
    """One provider's models: names that are told in full are found at once, patterns are tried in their order."""

    def __init__(self, provider: Any) -> None:
        self.owns = _compiled(provider.model_match) if provider.model_match is not None else None
        self.fallbacks: tuple[str, ...] = tuple(provider.fallback_model_providers or ())
        self._models = provider.models
        self._exact: dict[str, int] = {}
        self._patterns: list[tuple[int, Matches]] = []
        for index, model in enumerate(provider.models):
            for clause in getattr(model.match, "or_", [model.match]):
                if (name := getattr(clause, "equals", None)) is not None:
                    self._exact.setdefault(name.lower(), index)
                else:
                    self._patterns.append((index, _compiled(clause)))

    def find(self, name: str) -> Any:
        """Return the first model that a name matches."""
        first = self._exact.get(name, len(self._models))
        for index, matches in self._patterns:
            if index >= first:
                break
            if matches(name):
                return self._models[index]
        return self._models[first] if first < len(self._models) else None


def _compiled(clause: Any) -> Matches:
    """Return a clause of the package as a function over names in lower case."""
    for kind, compile_it in _COMPILERS.items():
        if (value := getattr(clause, kind, None)) is not None:
            return compile_it(value)
    return lambda name: bool(clause.is_match(name))


def _all(clauses: Any) -> Matches:
    parts = [_compiled(clause) for clause in clauses]
    return lambda name: all(part(name) for part in parts)


def _any(clauses: Any) -> Matches:
    parts = [_compiled(clause) for clause in clauses]
    return lambda name: any(part(name) for part in parts)


def _starts(text: str) -> Matches:
    start = text.lower()
    return lambda name: name.startswith(start)


def _ends(text: str) -> Matches:
    end = text.lower()
    return lambda name: name.endswith(end)


def _contains(text: str) -> Matches:
    part = text.lower()
    return lambda name: part in name


def _regex(text: str) -> Matches:
    search = re.compile(text).search
    return lambda name: search(name) is not None


_COMPILERS: Mapping[str, Callable[[Any], Matches]] = {
    "equals": lambda text: text.lower().__eq__,
    "starts_with": _starts,
    "ends_with": _ends,
    "contains": _contains,
    "regex": _regex,
    "or_": _any,
    "and_": _all,
}


@cache
def _providers() -> Mapping[str, Models]:
    from genai_prices.data_snapshot import get_snapshot

    return {provider.id: Models(provider) for provider in get_snapshot().providers}


def find(name: str) -> Callable[[datetime], Rates | None] | None:
    """Return what tells a model's prices at a moment; ``None`` for a model that is not known. Lower case."""
    providers = _providers()
    owner, slash, rest = name.partition("/")
    if slash:
        models, name = providers.get(ALIASES.get(owner, owner)), rest
    elif ":" in name:
        return None
    else:
        models = next((one for one in providers.values() if one.owns is not None and one.owns(name)), None)
    if models is None or not name:
        return None
    model = _find_model(models, name) or _find_model(models, _COMPACT_DATE.sub(r"-\1-\2-\3", name))
    return None if model is None else lambda at: _rates_of(model.get_prices(at))


def _find_model(models: Models, name: str) -> Any:
    """Find a model of a provider, or of another one whose models it serves at the same prices."""
    if (model := models.find(name)) is not None:
        return model
    others = (_providers().get(provider) for provider in models.fallbacks)
    return next((model for one in others if one is not None and (model := one.find(name)) is not None), None)


def _rates_of(prices: Any) -> Rates | None:
    if any(getattr(prices, fee, None) is not None for fee in FEES):
        return None
    price_of = {name: _base(getattr(prices, f"{name}_mtok", None)) for name in _CLASSES}
    return Rates(
        input=price_of["input"],
        cached=price_of["cache_read"],
        output=price_of["output"],
        reasoning=price_of["output_reasoning"],
    )


def _base(price: Any) -> Decimal | None:
    """Return a price without its steps for long prompts: those depend on each call, and totals do not tell them."""
    base: Decimal | None = getattr(price, "base", price)
    return base
