"""A script with a tqdm bar and log lines: both appear on the dashboard as well as on the terminal.

    pip install 'mission-dashboard[tqdm]'
    python3 examples/progress_bar.py

MISSION_DASHBOARD_URL says where the dashboard is; http://127.0.0.1:5002 where it is not set.
"""

from __future__ import annotations

import logging

from mission_dashboard.client import mission
from mission_dashboard.integrations.progress import MissionLogHandler, tqdm

logger = logging.getLogger("index")

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, handlers=[MissionLogHandler()])
    with mission("Index corpus", agent_type="IndexScript"):
        for chunk in tqdm(range(200), desc="chunks"):
            if chunk % 50 == 0:
                logger.info("at chunk %d", chunk)  # put the real work here
