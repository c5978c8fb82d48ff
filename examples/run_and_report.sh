#!/bin/sh
# A shell script as a mission: `mission-dashboard run` wraps it, and it says more about itself on the way.
#
#   sh examples/run_and_report.sh
#
# Needs a dashboard (MISSION_DASHBOARD_URL, else http://127.0.0.1:5002) and `pip install .`.
set -eu

if [ -z "${MISSION_DASHBOARD_MISSION:-}" ]; then
    exec mission-dashboard run --title "Count words" --type document_processing --budget-seconds 600 -- sh "$0"
fi

total=4
for number in 1 2 3 4; do
    # The last line becomes the step, its percentage the progress.
    echo "part $number of $total ($((100 * number / total))%)"
done
mission-dashboard progress "$MISSION_DASHBOARD_MISSION" --metadata parts=$total --tokens 1200 >/dev/null
