"""Draws the page in its states into docs/screenshots: wide and phone, dark and light."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from dashboards import Dashboard

TARGET = ROOT / "docs" / "screenshots"
SIZES = {"wide": {"width": 1440, "height": 960}, "phone": {"width": 390, "height": 844}}
VIEWS = {"dashboard": "/", "table": "/?view=table", "timeline": "/?view=timeline"}


def fill(dashboard: Dashboard) -> None:
    """Let the demo tell its stories twice: once to the end, once so that some still run."""
    demo = [sys.executable, str(ROOT / "demo_mission_dashboard.py"), "run", "--url", dashboard.url]
    for seed in ("1", "2", "3"):
        subprocess.run([*demo, "--speed", "25", "--seed", seed], check=True, stdout=subprocess.DEVNULL)
    subprocess.Popen([*demo, "--speed", "0.3", "--seed", "4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(16)


def draw(browser: Browser, dashboard: Dashboard, size: str, theme: str) -> None:
    """Draw every view at one size in one theme."""
    page = browser.new_page(viewport=SIZES[size], color_scheme="light" if theme == "light" else "dark")
    page.add_init_script(f"localStorage.setItem('mission-dashboard.theme', '{theme}')")
    for name, path in VIEWS.items():
        page.goto(dashboard.url + path)
        save(page, f"{name}-{size}-{theme}")
    page.goto(dashboard.url)
    page.locator(".mission-card__open").first.click()
    save(page, f"details-{size}-{theme}")
    page.close()


def save(page: Page, name: str) -> None:
    """Save one picture once the page is live and drawn."""
    page.locator(".live-state[data-phase=live]").wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=TARGET / f"{name}.png")
    print(f"docs/screenshots/{name}.png")


def main() -> int:
    """Draw all; return 1 where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is missing: on Debian, apt-get install chromium", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="mdshots", dir="/tmp"))
    folder.chmod(0o711)
    dashboard = Dashboard(folder).start()
    try:
        fill(dashboard)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            for size in SIZES:
                for theme in ("dark", "light"):
                    draw(browser, dashboard, size, theme)
            browser.close()
    finally:
        dashboard.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
