"""A program that reports by itself: a mission with progress, tokens, a log and a part of its own.

    pip install mission-dashboard
    python3 examples/plain_sdk.py

MISSION_DASHBOARD_URL says where the dashboard is; http://127.0.0.1:5002 where it is not set.
"""

from __future__ import annotations

from mission_dashboard.client import mission


def summarise(text: str) -> str:
    """Stand in for a call of a model; put the real one here."""
    return text[:20]


if __name__ == "__main__":
    pages = ["The first page of the report.", "The second one.", "The last one."]
    with mission("Summarise the report", agent_type="SummaryAgent", model_used="llama3.1:8b") as whole:
        summaries = []
        for page in whole.track(pages):
            summaries.append(summarise(page))
            whole.add_tokens(input=len(page.split()), output=len(summaries[-1].split()))
            whole.log(f"summarised: {summaries[-1]}")
        with mission("Check the summary") as part:  # a child of the mission around it
            part.result({"pages": len(summaries)})
        whole.result({"summary": " ".join(summaries)})
    print("See it on the dashboard.")
