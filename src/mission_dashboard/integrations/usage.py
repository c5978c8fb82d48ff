"""Reads token counts in the shapes that model providers and frameworks use.

Input includes cached, output includes reasoning, as the dashboard and OpenTelemetry count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INPUT = ("input_tokens", "prompt_tokens", "prompt_eval_count")
OUTPUT = ("output_tokens", "completion_tokens", "eval_count")
INPUT_DETAILS = ("input_tokens_details", "input_token_details", "prompt_tokens_details")
OUTPUT_DETAILS = ("output_tokens_details", "output_token_details", "completion_tokens_details")
CACHED = ("cached_tokens", "cache_read", "cache_read_tokens", "cache_read_input_tokens")
REASONING = ("reasoning_tokens", "reasoning")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one call of a model used."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def __bool__(self) -> bool:
        return bool(self.input or self.output)

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.cached + other.cached,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )

    def as_usage(self) -> dict[str, int]:
        """Return the counts as the dashboard's API names them."""
        return {
            "input_tokens": self.input,
            "cached_tokens": self.cached,
            "output_tokens": self.output,
            "reasoning_tokens": self.reasoning,
        }


def read_tokens(usage: Any) -> Tokens | None:
    """Return the counts of a mapping or object; None where it has none."""
    if usage is None:
        return None
    used, produced = _first(usage, INPUT), _first(usage, OUTPUT)
    if used is None and produced is None:
        return None
    cached = _first(_inner(usage, INPUT_DETAILS), CACHED) or _first(usage, CACHED) or 0
    reasoning = _first(_inner(usage, OUTPUT_DETAILS), REASONING) or _first(usage, REASONING) or 0
    return Tokens(used or 0, min(cached, used or 0), produced or 0, min(reasoning, produced or 0))


def _inner(usage: Any, names: tuple[str, ...]) -> Any:
    return next((inner for name in names if (inner := _get(usage, name)) is not None), None)


def _first(usage: Any, names: tuple[str, ...]) -> int | None:
    for name in names:
        number = _get(usage, name)
        if isinstance(number, (int, float)) and not isinstance(number, bool) and number >= 0:
            return int(number)
    return None


def _get(usage: Any, name: str) -> Any:
    return usage.get(name) if isinstance(usage, Mapping) else getattr(usage, name, None)
