"""What a mission's models used: tokens by class, for each model.

Input includes what came from a cache, output includes reasoning, as OpenTelemetry counts them. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mission_dashboard.errors import InvalidValue

MAX_MODELS = 50
MAX_TOKENS = 10**15


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """The tokens of one model so far, and what they cost in US dollars; ``None`` where that is not known."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


Usage = Mapping[str, ModelUsage]


def merged(before: Usage | None, said: Usage) -> Usage:
    """Return the usage after a report, which replaces each model it names.

    Raises `InvalidValue` for too many models or tokens.
    """
    usage = {**(before or {}), **said}
    if len(usage) > MAX_MODELS:
        raise InvalidValue.of("usage", f"would name {len(usage)} models; a mission keeps at most {MAX_MODELS}.")
    if sum(one.tokens for one in usage.values()) > MAX_TOKENS:
        raise InvalidValue.of("usage", f"would add up to more than {MAX_TOKENS:,} tokens.")
    return usage


def sums(usage: Usage) -> tuple[int, int]:
    """Return the input tokens and the output tokens of all models."""
    return sum(one.input_tokens for one in usage.values()), sum(one.output_tokens for one in usage.values())
