"""A LangChain chain on the dashboard: the chain is a mission, models and tools are its spans.

    pip install 'mission-dashboard[langchain]'
    python3 examples/langchain_chain.py

MISSION_DASHBOARD_URL says where the dashboard is; http://127.0.0.1:5002 where it is not set.
"""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from mission_dashboard.integrations.langchain import MissionCallbackHandler


class FakeModel(BaseChatModel):
    """Answers without a network. The real one: ChatOpenAI(model="gpt-4o-mini") or ChatOllama(model="llama3.1:8b")."""

    model: str = "gpt-4o-mini"

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        usage = {
            "input_tokens": 120,
            "output_tokens": 30,
            "total_tokens": 150,
            "input_token_details": {"cache_read": 20},
            "output_token_details": {"reasoning": 10},
        }
        message = AIMessage(
            "Hotel Astoria is near the park.", usage_metadata=usage, response_metadata={"model_name": self.model}
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def find_hotels(city: str) -> str:
    """Find hotels of a city."""
    return f"Hotel Astoria and Hotel Bristol in {city}"


if __name__ == "__main__":
    prompt = ChatPromptTemplate.from_template("Recommend one of these: {hotels}")
    look_up = RunnableLambda(lambda asked: {"hotels": find_hotels.invoke(asked)})
    chain = (look_up | prompt | FakeModel() | StrOutputParser()).with_config(run_name="Hotel advice")
    print(chain.invoke({"city": "Vienna"}, config={"callbacks": [MissionCallbackHandler()]}))
