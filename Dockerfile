# Mission Dashboard with its embedded PostgreSQL. Build: docker build -t mission-dashboard .
# Run:  docker run -p 5002:5002 -v mission-dashboard:/data mission-dashboard
# Its first lines say with which key to log in. Set POSTGRES_DSN to use a PostgreSQL server of your own instead of the embedded one.
# docs/deployment.md has the rest.

# Packages are put together here; what that takes (pip, package lists) stays here.
FROM python:3.13-slim AS packages

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

# Not pinned: a rebuild shall bring Debian's fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app

# First what changes seldom: an edit of the sources then installs nothing.
COPY requirements.txt ./
RUN python -m venv --without-pip .venv
RUN python -m pip --python .venv install --require-hashes --only-binary :all: -r requirements.txt

COPY mission-dashboard ./
COPY src/ src/
COPY static/ static/
COPY templates/ templates/
RUN .venv/bin/python -m compileall -q src

FROM python:3.13-slim

ENV PATH=/app/.venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    MISSION_DASHBOARD_HOST=0.0.0.0 \
    MISSION_DASHBOARD_PORT=5002 \
    MISSION_DASHBOARD_DATA_DIR=/data \
    MISSION_DASHBOARD_LOG_DIR=/data/logs

# A user of its own, with a fixed number so that a volume keeps its owner from image to image; and the command.
RUN groupadd --gid 10001 mission-dashboard \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin mission-dashboard \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data \
    && ln -s /app/mission-dashboard /usr/local/bin/mission-dashboard

# tini is process 1: it passes signals on and reaps what a killed PostgreSQL leaves behind, also without --init.
COPY --from=packages /usr/bin/tini-static /usr/local/bin/tini
# Owned by root: who breaks into the server cannot change its code.
COPY --from=packages /app /app

WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 5002

# SIGTERM makes the server finish its writes and stop its database.
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ['MISSION_DASHBOARD_PORT'] + '/livez', timeout=2)"]

ENTRYPOINT ["tini", "--"]
CMD ["python", "src/mission_dashboard/mission_dashboard.py"]
