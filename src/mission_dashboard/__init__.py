"""Mission Dashboard: see AI agents and LLM jobs live.

Importing this package loads neither Flask nor psycopg2.
"""

from mission_dashboard.missions import Mission, MissionPriority, MissionStatus

__version__ = "0.1.0"
__all__ = ["Mission", "MissionPriority", "MissionStatus", "__version__"]
