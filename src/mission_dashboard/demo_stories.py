"""The demo's stories: what its missions do, in which steps, and how they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GENERAL_MODEL = "mistral:7b-instruct"
CODE_MODEL = "yi-coder:9b-chat-q6_k"


@dataclass(frozen=True)
class Story:
    """One mission of the demo: who does what in which steps, and how it ends."""

    title: str
    kind: str
    agent: str
    model: str
    priority: str
    steps: tuple[str, ...]
    result: Any = None
    error: str | None = None
    cancelled_because: str | None = None


STORIES = (
    Story(
        "Route 240 support mails to the right team",
        "document_processing",
        "IntentRouter",
        GENERAL_MODEL,
        "high",
        ("Reading the inbox", "Detecting languages", "Classifying intents", "Checking doubtful ones", "Routing"),
        {"mails": 240, "routed": 236, "to_a_person": 4},
    ),
    Story(
        "Ingest Q3 contracts (312 PDF)",
        "document_processing",
        "RetrievalAgent",
        GENERAL_MODEL,
        "medium",
        ("Extracting text", "Chunking 104 of 312", "Chunking 208 of 312", "Embedding chunks", "Writing the index"),
        {"documents": 312, "chunks": 9480},
    ),
    Story(
        "Summarise the support inbox of July",
        "document_processing",
        "RetrievalAgent",
        GENERAL_MODEL,
        "high",
        ("Reading 1,204 threads", "Joining long threads", "Summarising thread 87"),
        error="Context window exceeded: thread 87 has 41,880 tokens, the model takes 32,768",
    ),
    Story(
        "Generate an API client for the billing service",
        "code_generation",
        "CodeAgent",
        CODE_MODEL,
        "critical",
        ("Reading the OpenAPI document", "Planning modules", "Writing 14 endpoints", "Writing tests", "Running tests"),
        {"files": 9, "lines": 1312, "tests_passed": 41},
    ),
    Story(
        "Migrate the date helpers to zoneinfo",
        "code_generation",
        "CodeAgent",
        CODE_MODEL,
        "low",
        ("Finding uses", "Rewriting 7 modules", "Rewriting the tests"),
        cancelled_because="Superseded by the new release plan",
    ),
    Story(
        "Health sweep of 24 services",
        "system_monitoring",
        "MonitoringAgent",
        GENERAL_MODEL,
        "medium",
        ("Asking 24 services", "Comparing with yesterday", "Writing the report"),
        {"healthy": 24, "slow": ["search"]},
    ),
    Story(
        "Watch the queue during the deployment",
        "system_monitoring",
        "MonitoringAgent",
        GENERAL_MODEL,
        "high",
        ("Before: 12 waiting", "Deploying: 340 waiting", "Draining: 96 waiting", "After: 9 waiting"),
        {"highest": 340, "recovered_after_s": 74},
    ),
    Story(
        "Nightly anomaly report",
        "data_analysis",
        "AnalyticsAgent",
        GENERAL_MODEL,
        "medium",
        ("Loading 90 days", "Computing the seasonal baseline", "Scoring 1,440 minutes", "Explaining 3 anomalies"),
        {"anomalies": 3, "worst": "checkout latency, 02:10 to 02:25"},
    ),
    Story(
        "Churn drivers by segment",
        "data_analysis",
        "AnalyticsAgent",
        GENERAL_MODEL,
        "low",
        ("Joining tables", "Fitting the model", "Testing stability", "Drawing charts", "Writing the summary"),
        {"segments": 6, "top_driver": "unanswered tickets"},
    ),
)
