"""The page in a real Chromium: how fast it opens, how it scrolls under live updates, what it weighs and keeps."""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.processes import Server, dashboard, database, driving, seed
from benchmarks.scenarios import Figure, Size

WINDOW = {"width": 1440, "height": 900}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
VIEWS = ("cards", "table", "timeline")
RATE = 200
SCROLL_PX_S = 1500
WARM_S = 3.0
GATHER_EVERY_S = 10.0
LONG_TASK_MS = 50

LOADING_S = 120.0

TO_THE_END = """() => {
  window.scrollTo(0, document.documentElement.scrollHeight);
  return Number(document.querySelector('[aria-setsize]')?.getAttribute('aria-setsize') ?? 0);
}"""
INSTRUMENTS = """
(() => {
  const bench = window.bench = { updates: 0, bytes: 0, tasks: [], frames: [], counting: false };
  window.WebSocket = class extends WebSocket {
    constructor(...said) {
      super(...said);
      this.addEventListener('message', ({ data }) => {
        bench.bytes += data.length;
        if (typeof data === 'string' && data.startsWith('42["mission_update"')) bench.updates += 1;
      });
    }
  };
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) bench.tasks.push({ at: task.startTime, ms: task.duration });
  }).observe({ type: 'longtask', buffered: true });
  const frame = (at) => {
    if (!bench.counting) return;
    bench.frames.push(at);
    requestAnimationFrame(frame);
  };
  bench.start = () => {
    Object.assign(bench, { updates: 0, tasks: [], frames: [], counting: true });
    requestAnimationFrame(frame);
  };
  bench.stop = () => {
    bench.counting = false;
    const { frames, tasks, updates } = bench;
    return { frames, tasks, updates };
  };
  // Painted: the frame in which the first mission stands has been handed over.
  bench.painted = new Promise((resolve) => {
    const looking = new MutationObserver(() => {
      if (!document.querySelector('[data-mission]')) return;
      looking.disconnect();
      requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => resolve(performance.now());
        port2.postMessage('');
      });
    });
    looking.observe(document, { subtree: true, childList: true });
  });
})();
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise RuntimeError("Chromium is missing: on Debian, apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, server: Server) -> Iterator[Page]:
    """The page with instruments and an empty cache, its first mission painted."""
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    page.add_init_script(INSTRUMENTS)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.evaluate("window.bench.painted")
    yield page
    context.close()


@dataclass(frozen=True)
class Weight:
    """What came over HTTP until the page was quiet, as sent, in bytes."""

    all: int
    fonts: int


def weigh(browser: Browser, server: Server) -> Weight:
    """Open the page with an empty cache and add up what it loads."""
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    network = context.new_cdp_session(page)
    kinds: dict[str, str] = {}
    sizes: dict[str, int] = {}
    network.on("Network.responseReceived", lambda said: kinds.__setitem__(said["requestId"], said["type"]))
    network.on(
        "Network.loadingFinished", lambda said: sizes.__setitem__(said["requestId"], int(said["encodedDataLength"]))
    )
    network.send("Network.enable")
    page.goto(f"http://127.0.0.1:{server.port}/", wait_until="networkidle")
    page.locator(".live-state[data-phase=live]").wait_for()
    context.close()
    fonts = sum(size for request, size in sizes.items() if kinds.get(request) == "Font")
    return Weight(sum(sizes.values()), fonts)


def first_paint_ms(browser: Browser, server: Server) -> float:
    """From the start of the navigation until the first mission is painted, with an empty cache."""
    with opened(browser, server) as page:
        return float(page.evaluate("window.bench.painted"))


def measure_opening(browser: Browser, mode: str, size: Size) -> list[Figure]:
    """The page over ten and over very many missions, opened in turns."""
    with database() as postgres:
        small, large = seed(postgres, "small", 10), seed(postgres, "large", size.missions)
        with dashboard(mode, small) as few, dashboard(mode, large) as many:
            first_paint_ms(browser, few), first_paint_ms(browser, many)
            pairs = [(first_paint_ms(browser, few), first_paint_ms(browser, many)) for _ in range(size.opens)]
            weight = weigh(browser, few)
    of_few, of_many = (statistics.median(times) for times in zip(*pairs, strict=True))
    slowest = max(large for _, large in pairs)
    ratio, kilobytes = of_many / of_few, (weight.all - weight.fonts) / 1000
    name = "page opened with an empty cache, first mission painted"
    return [
        Figure(f"{name}: 10 missions, p50", of_few, "ms", "under 1,000", of_few < 1000),
        Figure(
            f"{name}: {size.missions:,} missions, p50",
            of_many,
            "ms",
            "under 1,000",
            of_many < 1000,
            f"slowest of {size.opens}: {slowest:.0f} ms",
        ),
        Figure(f"{name}: {size.missions:,} against 10 missions", ratio, "times", "at most 1.2", ratio <= 1.2),
        Figure(
            "all that the page loads, compressed, fonts apart",
            kilobytes,
            "kB",
            "under 200",
            kilobytes < 200,
            f"fonts: {weight.fonts / 1000:.0f} kB",
        ),
    ]


def load_all(page: Page, count: int) -> None:
    """Scroll to the end until so many missions are in the list."""
    ends_at = time.monotonic() + LOADING_S
    while page.evaluate(TO_THE_END) < count:
        if time.monotonic() > ends_at:
            raise RuntimeError(f"the page does not load {count:,} missions")
        page.wait_for_timeout(50)
    page.evaluate("window.scrollTo(0, 0)")


def scroll(page: Page, cdp: CDPSession, seconds: float) -> dict[str, Any]:
    """Scroll down as a wheel does for so many seconds; return frames, long tasks and updates of that time."""
    page.evaluate("window.bench.start()")
    cdp.send(
        "Input.synthesizeScrollGesture",
        {
            "x": WINDOW["width"] // 2,
            "y": WINDOW["height"] - 200,
            "yDistance": -int(SCROLL_PX_S * seconds),
            "speed": SCROLL_PX_S,
            "gestureSourceType": "mouse",
        },
    )
    seen = dict(page.evaluate("window.bench.stop()"))
    if page.evaluate("window.scrollY") < SCROLL_PX_S * seconds / 2:
        raise RuntimeError("the page did not scroll")
    return seen


def figures_of_scrolling(view: str, seen: dict[str, Any]) -> list[Figure]:
    """Return frames a second and long tasks."""
    frames, tasks = seen["frames"], [task["ms"] for task in seen["tasks"]]
    took_s = (frames[-1] - frames[0]) / 1000
    rate = (len(frames) - 1) / took_s
    slowest = max(after - before for before, after in itertools.pairwise(frames))
    return [
        Figure(
            f"scrolling {view} under updates",
            rate,
            "frames/s",
            "at least 55",
            rate >= 55,
            f"{seen['updates'] / took_s:.0f} updates/s arrived; slowest frame {slowest:.0f} ms",
        ),
        Figure(
            f"scrolling {view} under updates: tasks over {LONG_TASK_MS} ms",
            len(tasks),
            "tasks",
            "none",
            not tasks,
            f"longest {max(tasks):.0f} ms" if tasks else "",
        ),
    ]


def heap_mb(cdp: CDPSession, collect: bool) -> float:
    """Return the JavaScript heap in use, in megabytes; ``collect`` throws garbage away first."""
    if collect:
        cdp.send("HeapProfiler.collectGarbage")
    return float(cdp.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def soak(page: Page, cdp: CDPSession, server: Server, seconds: float) -> list[Figure]:
    """Let updates arrive for so long, the reader at the top of the list, and watch the heap."""
    kept: list[tuple[float, float]] = []
    highest = 0.0
    page.evaluate("window.scrollTo(0, 0)")
    page.evaluate("window.bench.start()")
    began = time.monotonic()
    with driving(server.port, f"--rate={RATE}", f"--seconds={seconds}") as report:
        while (passed_s := time.monotonic() - began) < seconds:
            highest = max(highest, heap_mb(cdp, collect=False))
            kept.append((passed_s, heap_mb(cdp, collect=True)))
            page.wait_for_timeout(min(GATHER_EVERY_S, seconds / 4) * 1000)
        written = report()["requests"]
    seen = page.evaluate("window.bench.stop()")
    tasks = [task["ms"] for task in seen["tasks"]]
    slope = statistics.linear_regression(*zip(*kept, strict=True)).slope * 600
    last = statistics.median(megabytes for _, megabytes in kept[-5:])
    minutes = f"{seconds / 60:.3g} min at {written / seconds:.0f} updates/s"
    return [
        Figure(
            f"page's heap, {minutes}",
            last,
            "MB",
            "under 50",
            last < 50,
            f"with garbage at most {highest:.0f} MB",
        ),
        Figure(
            f"page's heap, slope over {minutes}",
            slope,
            "MB in 10 min",
            "flat",
            slope < 5,
            f"{kept[0][1]:.1f} MB at the start, {kept[-1][1]:.1f} MB at the end",
        ),
        Figure(
            f"tasks over {LONG_TASK_MS} ms in {minutes}",
            len(tasks),
            "tasks",
            "none",
            not tasks,
            f"longest {max(tasks):.0f} ms" if tasks else "",
        ),
    ]


def measure_use(browser: Browser, mode: str, size: Size) -> list[Figure]:
    """Very many missions loaded in the page, scrolled in each view while updates arrive, then left open."""
    figures: list[Figure] = []
    with (
        database() as postgres,
        dashboard(mode, seed(postgres, "loaded", size.loaded)) as server,
        opened(browser, server) as page,
    ):
        cdp = page.context.new_cdp_session(page)
        load_all(page, size.loaded)
        for view in VIEWS:
            page.evaluate("window.scrollTo(0, 0)")
            page.locator(".filters__views").get_by_role("button", name=view).click()
            page.locator(f".mission-list[data-view={view}]").wait_for()
            with driving(server.port, f"--rate={RATE}", f"--seconds={size.scroll_s + WARM_S + 2}") as report:
                page.wait_for_timeout(WARM_S * 1000)
                figures += figures_of_scrolling(view, scroll(page, cdp, size.scroll_s))
                report()
        page.locator(".filters__views").get_by_role("button", name=VIEWS[0]).click()
        figures += soak(page, cdp, server, size.soak_s)
    return figures


def measure_page(mode: str, size: Size) -> list[Figure]:
    """All about the page."""
    with chromium() as browser:
        return [*measure_opening(browser, mode, size), *measure_use(browser, mode, size)]
