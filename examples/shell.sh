#!/bin/sh
# A shell script on the dashboard, by curl alone: one mission, its progress, and its end, good or bad.
#
#     sh examples/shell.sh
#
# MISSION_DASHBOARD_URL says where the dashboard is; http://127.0.0.1:5002 where it is not set.
set -eu
PING="${MISSION_DASHBOARD_URL:-http://127.0.0.1:5002}/ping/${MISSION_NAME:-nightly-backup}"

say() {  # never harms the script: a dashboard that is away is no reason to stop
    curl --silent --output /dev/null --max-time 10 "$@" || true
}

say "$PING/start"
trap 'say --data "The script ended with exit code $?" "$PING/fail"' EXIT

for percent in 25 50 75; do
    say --data "part $percent" "$PING/progress/$percent"  # put the real work here
done

trap - EXIT
say --data "3 parts saved" "$PING/complete"
echo "Backup done."
