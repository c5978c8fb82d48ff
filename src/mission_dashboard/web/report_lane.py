"""A short way for agents' reports: start, progress, complete, fail and heartbeats, nearly all of the traffic.

They need nothing of Flask's request context, and that context costs as much as the whole write. So these are
taken before Flask: the same views, errors and limits, called directly. What does not look exactly like a report goes
on to Flask, which knows the same addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from mission_dashboard.errors import MissionDashboardError
from mission_dashboard.mission_tracker import MissionTracker
from mission_dashboard.web.answers import Answer
from mission_dashboard.web.api import operate
from mission_dashboard.web.errors import answer_http, answer_ours, answer_unforeseen
from mission_dashboard.web.inputs import MAX_BODY_BYTES
from mission_dashboard.web.limits import Gate
from mission_dashboard.web.operations import ADDRESSES, REPORTING
from mission_dashboard.web.requests_log import Environ, StartResponse, WsgiApp

_REPORT = re.compile(rf"/api/missions/([A-Za-z0-9_.-]{{1,255}})/({'|'.join(REPORTING)})", re.ASCII)


class _Report(Request):
    max_content_length = MAX_BODY_BYTES


class ReportLane:
    """The WSGI wrapper that takes reports and passes on everything else."""

    def __init__(self, app: WsgiApp, tracker: MissionTracker, gate: Gate) -> None:
        self._app = app
        self._tracker = tracker
        self._gate = gate

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        found = _REPORT.fullmatch(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None
        if found is None:
            return self._app(environ, start_response)
        passage = self._gate(environ)
        if passage.refusal is not None:
            done: Answer | Response = answer_http(passage.refusal)
        else:
            done = self._report(environ, found[1], found[2])
        if isinstance(done, Answer):
            return done.send(start_response, passage.headers)
        done.headers.extend(passage.headers)
        return done(environ, start_response)

    def _report(self, environ: Environ, mission_id: str, name: str) -> Answer | Response:
        try:
            return operate(self._tracker, _Report(environ, populate_request=False), ADDRESSES[name], mission_id)
        except MissionDashboardError as error:
            return answer_ours(error)
        except HTTPException as error:
            return answer_http(error)
        except Exception as error:  # noqa: BLE001  (as Flask does: logged with its traceback, answered as 500)
            return answer_unforeseen(error, "POST", environ["PATH_INFO"])
