"""`python -m mission_dashboard.cli`: the command, where it is not installed."""

import sys

from mission_dashboard.cli import main

sys.exit(main())
