"""A mission with all missions below it, and what they used together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

MAX_TREE_NODES = 2_000
MAX_TREE_DEPTH = 32


@dataclass(slots=True)
class Use:
    """Tokens and US dollars, exact."""

    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)

    def add(self, other: Use) -> None:
        """Add what another used."""
        self.tokens += other.tokens
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost += other.cost


@dataclass(slots=True)
class Node:
    """One mission of a tree: ``own`` is what it used itself, ``total`` that and the totals of its parts."""

    id: str
    parent_id: str | None
    depth: int
    title: str
    status: str
    agent_type: str | None
    model_used: str | None
    progress: float
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration: float | None
    own: Use
    total: Use = field(default_factory=Use)
    removed: Use = field(default_factory=Use)
    removed_missions: int = 0
    """How many missions below it retention removed, and what they used: it is part of ``total``."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes, parents before their parts; ``truncated`` where the limits left some out of nodes and totals."""

    nodes: Sequence[Node]
    truncated: bool


def roll_up(nodes: Sequence[Node], limit: int = MAX_TREE_NODES, depth_limit: int = MAX_TREE_DEPTH) -> Tree:
    """Sum what each node and all below it used; nodes come with parents first, one level after the other."""
    kept = [node for node in nodes[:limit] if node.depth <= depth_limit]
    known = {node.id: node for node in kept}
    for node in kept:
        node.total.add(node.own)
        node.total.add(node.removed)
    for node in reversed(kept):
        if node.depth and node.parent_id in known:
            known[node.parent_id].total.add(node.total)
    return Tree(_depth_first(kept), truncated=len(kept) < len(nodes))


def _depth_first(nodes: Sequence[Node]) -> list[Node]:
    parts: dict[str | None, list[Node]] = {}
    for node in nodes[1:]:
        parts.setdefault(node.parent_id, []).append(node)
    ordered = []
    waiting = list(nodes[:1])
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        below = sorted(parts.pop(node.id, ()), key=lambda part: (part.created_at, part.id), reverse=True)
        waiting.extend(below)
    return ordered
