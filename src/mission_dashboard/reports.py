"""What callers may say about missions: each field, its limits and its meaning.

These models are the one description of input. The tracker builds them from keyword arguments, the web from JSON
bodies, and the OpenAPI document is made from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mission_dashboard.errors import FieldProblem, InvalidValue, MissionNotFound
from mission_dashboard.missions import Budget, MissionPriority, Report
from mission_dashboard.usage import MAX_MODELS, MAX_TOKENS, ModelUsage

MAX_TITLE = 500
MAX_DESCRIPTION = 50_000
NUL = "\x00"
"""What no text in PostgreSQL holds."""
MAX_NAME = 200
MAX_STEP = 500
MAX_ERROR = 100_000
MAX_RESULT_BYTES = 1_000_000
MAX_METADATA_BYTES = 256_000
MAX_DEPTH = 64
MAX_COST = 1e9
MAX_INTEGER = 2**63
MAX_FIELDS = 100
MAX_PROBLEMS = 20
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MAX_QUESTION = 2_000
MAX_ANSWER = 5_000
MAX_OPTIONS = 20
MAX_KEY_DAYS = 3_660
MAX_TIMEOUT_S = 30 * 24 * 3600.0


def storable_text(text: str) -> str:
    """Refuse what PostgreSQL's text cannot hold."""
    if NUL in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must not contain half of a surrogate pair") from error
    return text


def _filled_text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty or only spaces")
    return text


def _printable_text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable, as ids are")
    return text


def storable_json(value: Any) -> Any:
    """Refuse what PostgreSQL's jsonb or a JSON reader cannot hold."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            storable_text(item)
        elif isinstance(item, bool) or item is None:
            continue
        elif isinstance(item, int):
            if not -MAX_INTEGER <= item < MAX_INTEGER:
                raise ValueError("has an integer beyond 64 bits; send it as text")
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError("has a number that is not finite")
        elif depth > MAX_DEPTH:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(item, Mapping):
            for key, inner in item.items():
                if not isinstance(key, str):
                    raise ValueError("has a key that is not text")
                storable_text(key)
                waiting.append((inner, depth + 1))
        elif isinstance(item, (list, tuple)):
            waiting.extend((inner, depth + 1) for inner in item)
        else:
            raise ValueError(f"has a value of type {type(item).__name__}, which JSON cannot hold")
    return value


def _is_larger(value: Any, limit: int) -> bool:
    """Whether a value is too large as JSON, told before it is walked through; what JSON cannot hold, the walk tells."""
    try:
        return len(orjson.dumps(value)) > limit
    except TypeError:
        return False


def _fitting_result(value: Any) -> Any:
    if _is_larger(value, MAX_RESULT_BYTES):
        raise ValueError(f"must not be larger than {MAX_RESULT_BYTES:,} bytes as JSON; store it elsewhere and link it")
    return storable_json(value)


def _fitting_metadata(value: Any) -> Any:
    if _is_larger(value, MAX_METADATA_BYTES):
        raise ValueError(f"must not be larger than {MAX_METADATA_BYTES:,} bytes as JSON")
    storable_json(value)
    kind = value.get("type")
    if kind is not None and (not isinstance(kind, str) or not 0 < len(kind) <= MAX_NAME):
        raise ValueError(f"has a 'type' that is not a text of 1 to {MAX_NAME} characters")
    return value


def _day(text: str) -> str:
    if not _DAY.fullmatch(text):
        raise ValueError("should be a day like 2026-01-31")
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ValueError("is not a day of the calendar") from error
    return text


def _canonical_uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise ValueError("must be a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057") from error


Uuid = Annotated[str, Field(min_length=32, max_length=45), AfterValidator(_canonical_uuid)]
MissionId = Annotated[
    str, Field(min_length=1, max_length=255), AfterValidator(storable_text), AfterValidator(_printable_text)
]
Title = Annotated[
    str, Field(min_length=1, max_length=MAX_TITLE), AfterValidator(storable_text), AfterValidator(_filled_text)
]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION), AfterValidator(storable_text)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(storable_text)]
Step = Annotated[str, Field(max_length=MAX_STEP), AfterValidator(storable_text)]
ErrorText = Annotated[str, Field(max_length=MAX_ERROR), AfterValidator(storable_text)]
Question = Annotated[
    str, Field(min_length=1, max_length=MAX_QUESTION), AfterValidator(storable_text), AfterValidator(_filled_text)
]
FilledName = Annotated[Name, AfterValidator(_filled_text)]
Option = FilledName
Progress = Annotated[float, Field(ge=0, le=100)]
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
Cost = Annotated[float, Field(ge=0, le=MAX_COST)]
Priority = Annotated[MissionPriority, Field(strict=False)]
Metadata = Annotated[dict[str, Any], AfterValidator(_fitting_metadata)]
Result = Annotated[Any, AfterValidator(_fitting_result)]


class Said(BaseModel):
    """Base of all input: unknown fields are refused by name, types are not guessed, numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BudgetSaid(Said):
    """The most a mission may use."""

    cost: Cost | None = Field(None, description="US dollars")
    tokens: Tokens | None = Field(None, description="input and output tokens together")
    seconds: Annotated[float, Field(ge=0, le=1e9)] | None = Field(None, description="run time in seconds")


class NewMission(Said):
    """A mission to create."""

    title: Title = Field(description="what the mission is, in one line")
    id: Uuid | None = Field(None, description="made by the caller, so that the same create again changes nothing")
    description: Description | None = None
    priority: Priority = MissionPriority.MEDIUM
    metadata: Metadata | None = Field(None, description="a JSON object; its `type` is the mission type")
    agent_type: Name | None = Field(None, description="which agent will run it")
    model_used: Name | None = Field(None, description="which model it will use")
    parent_id: MissionId | None = Field(None, description="the mission this one is a part of")
    budget: BudgetSaid | None = None

    def to_budget(self) -> Budget | None:
        """Return the budget as the domain's value."""
        if self.budget is None:
            return None
        return Budget(self.budget.cost, self.budget.tokens, self.budget.seconds)


class UsageSaid(Said):
    """What one model used so far, all of it: a class that is left out is 0."""

    input_tokens: Tokens = Field(0, description="with those from a cache")
    cached_tokens: Tokens = Field(0, description="of the input, those that came from a cache")
    output_tokens: Tokens = Field(0, description="with those for reasoning")
    reasoning_tokens: Tokens = Field(0, description="of the output, those for reasoning")

    @model_validator(mode="after")
    def _parts_fit(self) -> UsageSaid:
        if self.cached_tokens > self.input_tokens:
            raise ValueError("cached_tokens must not be more than input_tokens, of which they are a part")
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError("reasoning_tokens must not be more than output_tokens, of which they are a part")
        return self


UsageByModel = Annotated[dict[Name, UsageSaid], Field(min_length=1, max_length=MAX_MODELS)]


class _Usage(Said):
    tokens_used: Tokens | None = Field(None, description="total so far; input + output when those are given alone")
    input_tokens: Tokens | None = Field(None, description="total so far")
    output_tokens: Tokens | None = Field(None, description="total so far")
    cost_estimate: Cost | None = Field(None, description="US dollars so far; kept apart from what is computed")
    usage: UsageByModel | None = Field(None, description="tokens so far of each model, merged model by model")
    metadata: Metadata | None = Field(None, description="merged into the mission's metadata, key by key")

    def to_report(self) -> Report:
        """Return what was said as the domain's value."""
        return Report(**self._said())

    def _said(self) -> dict[str, Any]:
        said = {name: value for name, value in self.__dict__.items() if value is not None}
        if self.usage is not None:
            said["usage"] = {model: ModelUsage(**used.__dict__) for model, used in self.usage.items()}
        return said


class StartReport(_Usage):
    """A mission begins to run."""

    agent_type: Name | None = None
    model_used: Name | None = None
    step: Step | None = None


class ProgressReport(_Usage):
    """How far a running mission is; totals, not increments. At least one field."""

    progress: Progress | None = Field(None, description="percent, 0 to 100")
    step: Step | None = Field(None, description="what it is doing now, one line")
    agent_type: Name | None = None
    model_used: Name | None = None
    result: Result | None = Field(None, description="what there is so far, any JSON")

    @model_validator(mode="after")
    def _says_something(self) -> ProgressReport:
        for value in self.__dict__.values():
            if value is not None:
                return self
        raise ValueError("say at least one thing, for example progress")


class CompleteReport(_Usage):
    """A mission ended well."""

    result: Result | None = Field(None, description="any JSON up to 1 MB")
    step: Step | None = None
    agent_type: Name | None = None
    model_used: Name | None = None


class FailReport(_Usage):
    """A mission ended badly."""

    error_message: ErrorText | None = Field(None, description="what went wrong")
    result: Result | None = Field(None, description="what there is so far, any JSON")
    step: Step | None = None
    progress: Progress | None = None
    agent_type: Name | None = None
    model_used: Name | None = None


class CancelReport(Said):
    """A person or program stops a mission."""

    reason: ErrorText | None = Field(None, description="why; shown as the mission's error_message")
    by: Name | None = Field(None, description="who cancels it")

    def to_report(self) -> Report:
        """Return what was said as the domain's value."""
        return Report(error_message=self.reason, by=self.by)


class RetryReport(Said):
    """A finished mission shall run again; there is nothing to say."""


class RepriceSaid(Said):
    """Compute costs anew with today's price file; what was reported and how missions ended is never touched."""

    since: Annotated[str, AfterValidator(_day)] | None = Field(
        None, description="only missions that started on this UTC day or later, like 2026-01-31"
    )
    model: Name | None = Field(None, description="only missions that used this model")
    dry_run: bool = Field(True, description="only tell what would change; false to write it")
    cursor: MissionId | None = Field(None, description="next_cursor of the answer before")


class PauseReport(Said):
    """A person asks a running mission's agent to pause."""

    reason: Question | None = Field(None, description="why")
    by: Name | None = Field(None, description="who asks")


class ResumeReport(Said):
    """A person lets a paused mission's agent go on."""

    by: Name | None = Field(None, description="who says so")


class AcknowledgeReport(_Usage):
    """The agent obeys a directive, and says what it used until then."""

    directive: Literal["pause", "cancel", "continue"] = Field(description="which directive it obeys")
    stopped: bool = Field(False, description="after a cancel: nothing of it runs any more")

    def to_report(self) -> Report:
        """Return what was said about usage as the domain's value."""
        said = self._said()
        del said["directive"], said["stopped"]
        return Report(**said)


class HeartbeatReport(Said):
    """The agent lives; there is nothing more to say."""


class AskReport(Said):
    """The agent asks a person."""

    text: Question = Field(description="the question")
    question_id: Uuid | None = Field(None, description="made by the caller, so that the same ask again changes nothing")
    options: Annotated[list[Option], Field(min_length=1, max_length=MAX_OPTIONS)] | None = Field(
        None, description="what may be answered; without it any text"
    )
    timeout: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S)] | None = Field(
        None, description="after how many seconds nobody waits for the answer any more"
    )

    @field_validator("options")
    @classmethod
    def _differ(cls, options: list[str] | None) -> list[str] | None:
        if options and len(set(options)) < len(options):
            raise ValueError("must differ from each other")
        return options


class AnswerReport(Said):
    """A person answers a mission's question."""

    question_id: Annotated[str, Field(min_length=1, max_length=45), AfterValidator(storable_text)] = Field(
        description="which question"
    )
    answer: Annotated[
        str, Field(min_length=1, max_length=MAX_ANSWER), AfterValidator(storable_text), AfterValidator(_filled_text)
    ]
    by: Name | None = Field(None, description="who answers")


class BatchSaid(Said):
    """Many writes at once. Each is what the single call takes, with its `op` and `mission_id`."""

    operations: list[Any] = Field(
        description="1 to 1,000 objects; what is none is answered so", min_length=1, max_length=1000
    )


class DayBudgetSaid(Said):
    """The most that all missions, or those of one agent, may use in a UTC day; at least one limit."""

    agent_type: Name | None = Field(None, description="which agent; without it all of them together")
    cost: Cost | None = Field(None, description="US dollars")
    tokens: Tokens | None = Field(None, description="input and output tokens together")

    @model_validator(mode="after")
    def _limits_something(self) -> DayBudgetSaid:
        if self.cost is None and self.tokens is None:
            raise ValueError("set cost or tokens")
        return self


class KeySaid(Said):
    """A new key for a program, or for a person to log in with."""

    name: FilledName = Field(description="what it is for; people read it in the audit log")
    scopes: list[Literal["report", "read", "operate", "admin"]] = Field(
        min_length=1, max_length=4, description="what it may do; operate includes report and read, admin all"
    )
    expires_in_days: float | None = Field(
        None, gt=0, le=MAX_KEY_DAYS, description="after how many days it ends; never, where left out"
    )


def require_storable(mission_id: str) -> None:
    """Refuse ids that no mission can have, before the database stumbles over them."""
    if len(mission_id) > 255 or NUL in mission_id or not mission_id.isprintable():
        raise MissionNotFound(mission_id[:255])


SaidT = TypeVar("SaidT", bound=Said)


def understand(model: type[SaidT], said: Mapping[str, Any]) -> SaidT:
    """Check what was said; raise `InvalidValue` naming every wrong field."""
    if len(said) > MAX_FIELDS:
        raise InvalidValue.of("body", f"has more than {MAX_FIELDS} fields.")
    try:
        return model.model_validate(said)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        raise InvalidValue([_problem(model, one) for one in details]) from error


def _problem(model: type[Said], details: Any) -> FieldProblem:
    path = ".".join(str(part) for part in details["loc"])[:MAX_NAME] or "body"
    if details["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) or "none"
        return FieldProblem(path, f"is not a known field. Known fields: {known}.")
    if details["type"] == "missing":
        return FieldProblem(path, "is required.")
    if details["type"] in ("dict_type", "model_type"):
        return FieldProblem(path, "should be a JSON object.")
    message = str(details["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return FieldProblem(path, f"{message[:1].lower()}{message[1:].rstrip('.')}.")
