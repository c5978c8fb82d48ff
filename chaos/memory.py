"""Whether memory is flat, judged from what was measured of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import combinations

Sample = tuple[float, float]
"""When, in seconds, and how many megabytes."""
WARM_S = 60.0
"""Until then it may grow: caches fill."""
FLAT_MB_HOUR = 60.0
"""More than this for a whole hour is no noise."""
NOISE_MB = 8.0
"""Less than this in all is, however short the time it took."""
MOST_SAMPLES = 240


def warm(samples: Sequence[Sample], seconds: float) -> Sequence[Sample]:
    """Return the samples after the beginning of a run that took so long."""
    begins_at = min(WARM_S, seconds / 3)
    return [sample for sample in samples if sample[0] > begins_at]


def slope_mb_hour(samples: Sequence[Sample]) -> float:
    """Return the median of the slopes between all pairs of samples: a few that lie far off do not count."""
    few = samples[:: len(samples) // MOST_SAMPLES + 1]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(few, 2) if b[0] > a[0]]
    return statistics.median(slopes) * 3600 if slopes else 0.0


def growth_problem(samples: Sequence[Sample]) -> str | None:
    """Return what is wrong with how memory grew, if anything is."""
    if len(samples) < 2:
        return "memory was not measured"
    hours = (samples[-1][0] - samples[0][0]) / 3600
    slope = slope_mb_hour(samples)
    if slope * hours <= max(NOISE_MB, FLAT_MB_HOUR * hours):
        return None
    return f"memory grew by {slope * hours:.0f} MB, {slope:.0f} MB an hour"
