// uPlot, wrapped: a sparkline for a tile, and the bars of missions finished per minute.
import uPlot from '../../vendor/uplot.js';
import { html, useEffect, useMemo, useRef } from '../html.js';
import { theme } from '../settings.js';

/** @param {string} name */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * Keep a chart in an element: made once it has a width, given new data, made anew when its theme changes.
 * @param {(number | null)[][]} data @param {(width: number) => any} options @param {unknown[]} remakeFor
 */
function useChart(data, options, remakeFor) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const chart = useRef(/** @type {any} */ (null));
  const latest = useRef(data);
  const drawn = useRef(data);
  const visible = useRef(true);
  latest.current = data;
  const draw = () => {
    // A chart out of sight waits: drawing it would cost the scrolling its frames.
    if (!visible.current || !chart.current || drawn.current === latest.current) return;
    drawn.current = latest.current;
    chart.current.setData(latest.current);
  };
  useEffect(() => {
    const element = /** @type {HTMLElement} */ (place.current);
    const sized = new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = element;
      if (!width || !height) return;
      if (chart.current) chart.current.setSize({ width, height });
      else {
        drawn.current = latest.current;
        chart.current = new uPlot({ ...options(width), width, height }, /** @type {any} */ (latest.current), element);
      }
    });
    const seen = new IntersectionObserver(([entry]) => {
      visible.current = entry.isIntersecting;
      draw();
    });
    sized.observe(element);
    seen.observe(element);
    return () => {
      sized.disconnect();
      seen.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [theme.value, matchMedia('(prefers-color-scheme: light)').matches, ...remakeFor]);
  useEffect(draw, [data]);
  return place;
}

const QUIET = { cursor: { show: false }, legend: { show: false }, axes: [{ show: false }, { show: false }], padding: [2, 0, 0, 0] };

/** @param {{values: readonly (number | null)[], tone: string, floor?: number}} props */
export function Sparkline({ values, tone, floor = 0 }) {
  const data = useMemo(() => [values.map((_, index) => index), [...values]], [values]);
  const place = useChart(data, () => ({
    ...QUIET,
    // A line along the bottom would be cut in half.
    padding: [2, 0, 1, 0],
    scales: { x: { time: false }, y: { range: (/** @type {any} */ _chart, /** @type {number} */ low, /** @type {number} */ high) => [Math.min(floor, low ?? floor), Math.max(high ?? 1, floor + 1e-6) * 1.15] } },
    series: [{}, { stroke: colour(tone), width: 1.6, fill: `${colour(tone)}22`, points: { show: false }, spanGaps: true }],
  }), [tone, floor]);
  return html`<div class="sparkline" ref=${place} aria-hidden="true"></div>`;
}

/** @typedef {import('../state.js').Point} Point */

/**
 * Stacked bars, one a minute. Dragging over them chooses a time.
 * @param {{points: readonly Point[], choose: (from: number, to: number) => void, point: (point: Point | null) => void}} props
 */
export function MinuteBars({ points, choose, point }) {
  const data = useMemo(() => {
    const done = points.map((minute) => minute.completed);
    const failed = points.map((minute, index) => done[index] + minute.failed);
    const all = points.map((minute, index) => failed[index] + minute.cancelled);
    return [points.map((minute) => minute.at / 1000), all, failed, done];
  }, [points]);
  const known = useRef({ points, choose, point });
  known.current = { points, choose, point };
  const place = useChart(data, () => {
    // @ts-ignore uPlot's own types leave out some of these
    const bars = uPlot.paths.bars({ size: [0.78, 18], radius: 0.12, align: 1 });
    /** @param {string} tone */
    const series = (tone) => ({ paths: bars, fill: colour(tone), stroke: colour(tone), width: 0, points: { show: false } });
    return {
      ...QUIET,
      cursor: { x: true, y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { range: (/** @type {any} */ _chart, /** @type {number} */ low, /** @type {number} */ high) => [low, high + 60] },
        y: { range: (/** @type {any} */ _chart, /** @type {number} */ _low, /** @type {number} */ high) => [0, Math.max(4, high ?? 0) * 1.08] },
      },
      series: [{}, series('cancelled'), series('failed'), series('completed')],
      hooks: {
        setCursor: [(/** @type {any} */ chart) => {
          const at = chart.cursor.left >= 0 ? chart.posToVal(chart.cursor.left, 'x') * 1000 : -1;
          known.current.point(known.current.points.find((minute) => at >= minute.at && at < minute.at + 60_000) ?? null);
        }],
        setSelect: [(/** @type {any} */ chart) => {
          const { left, width } = chart.select;
          if (width < 4) return;
          const from = chart.posToVal(left, 'x') * 1000;
          const to = chart.posToVal(left + width, 'x') * 1000;
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          known.current.choose(Math.floor(from / 60_000) * 60_000, Math.ceil(to / 60_000) * 60_000);
        }],
      },
    };
  }, []);
  return html`<div class="minute-bars" ref=${place}></div>`;
}
