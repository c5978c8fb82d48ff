"""A DSPy program on the dashboard: its modules are missions, its LM calls and tools their spans.

    pip install 'mission-dashboard[dspy]'
    python3 examples/dspy_program.py

MISSION_DASHBOARD_URL says where the dashboard is; http://127.0.0.1:5002 where it is not set.
"""

from __future__ import annotations

from typing import Any

import dspy
from dspy.lm15 import Message, Response, TextPart, Usage

from mission_dashboard.integrations.dspy import MissionCallback


class FakeEngine:
    """Answers without a network, tokens and all. Leave it out to ask the real model."""

    def complete(self, request: Any) -> Response:
        """Return what a provider would."""
        text = "[[ ## reasoning ## ]]\nI know it.\n\n[[ ## answer ## ]]\nVienna\n\n[[ ## completed ## ]]"
        usage = Usage(input_tokens=120, cache_read_tokens=20, output_tokens=30, reasoning_tokens=10, total_tokens=150)
        message = Message.assistant([TextPart(text)])
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)

    def close(self) -> None:
        """Nothing to close."""


class Quiz(dspy.Module):
    """Answers questions one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.ChainOfThought("question -> answer")

    def forward(self, questions: list[str]) -> dspy.Prediction:
        """Answer them."""
        return dspy.Prediction(answers=[self.answer(question=question).answer for question in questions])


if __name__ == "__main__":
    lm = dspy.LM("openai/gpt-4o-mini", engine=FakeEngine(), cache=False)
    dspy.configure(lm=lm, callbacks=[MissionCallback()])
    print(Quiz()(questions=["What is the capital of Austria?", "And where is the Prater?"]).answers)
