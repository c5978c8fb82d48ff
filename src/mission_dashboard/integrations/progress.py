"""Log records as lines of the current mission's log, and tqdm's bars as its progress.

import logging
from mission_dashboard.client import mission
from mission_dashboard.integrations.progress import MissionLogHandler, tqdm

logging.getLogger().addHandler(MissionLogHandler())
with mission("Index corpus"):
    for chunk in tqdm(chunks):
        logging.info("chunk %s", chunk)
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

from mission_dashboard.client import current_mission

if TYPE_CHECKING:
    from tqdm import tqdm as Bar
else:
    try:
        from tqdm.auto import tqdm as Bar
    except ImportError:

        class Bar:
            """Stands for tqdm where it is not installed."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                raise ImportError("A progress bar needs tqdm: pip install 'mission-dashboard[tqdm]'")


OWN = "mission_dashboard"


class MissionLogHandler(logging.Handler):
    """Sends each record to the mission that the code which logs works for; without one it does nothing."""

    def createLock(self) -> None:
        """Have no lock: while one mission is paused, the others must be able to log."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. Raises the order to stop, and waits while paused, as any call on a mission."""
        mission = current_mission()
        if mission is None or record.name.split(".")[0] == OWN:
            return
        try:
            mission.log(self.format(record), record.levelno)
        except Exception:  # noqa: BLE001  (logging's own way with what goes wrong)
            self.handleError(record)


_showing: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_showing_lock = threading.Lock()


class tqdm(Bar):  # type: ignore[type-arg]
    """tqdm's bar that also says how far the current mission is, or ``mission=``; of nested bars the outermost does."""

    def __init__(self, *args: Any, mission: Any = None, **kwargs: Any) -> None:
        """Take what tqdm takes."""
        self._mission = None
        super().__init__(*args, **kwargs)
        found = mission if mission is not None else current_mission()
        if found is not None and not self.disable:
            with _showing_lock:
                if _showing.setdefault(found, self) is self:
                    self._mission = found
            self._report()

    def update(self, n: float | None = 1) -> bool | None:
        """Advance by ``n``."""
        shown = super().update(n)
        self._report()
        return shown

    def close(self) -> None:
        """End the bar."""
        super().close()
        mission, self._mission = self._mission, None
        if mission is not None:
            with _showing_lock:
                _showing.pop(mission, None)
            self._say(mission)

    def _report(self) -> None:
        if self._mission is not None:
            self._say(self._mission)

    def _say(self, mission: Any) -> None:
        count = f"{self.n:g} of {self.total:g}" if self.total else f"{self.n:g}"
        step = f"{self.desc.rstrip(': ')}: {count}" if self.desc else f"{self.unit} {count}"
        mission.progress(min(100.0 * self.n / self.total, 100.0) if self.total else None, step=step)
