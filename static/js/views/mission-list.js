// The list of any length: only what is on the screen, and a little more, is drawn. Items have a fixed height.
import { html, useEffect, useLayoutEffect, useRef, useState } from '../html.js';
import { setReading } from '../reading.js';
import { change, now, state } from '../store.js';
import { readMore } from '../feed.js';
import { CARD_HEIGHT, GAP, MissionCard } from './card.js';
import { MissionRow, ROW_HEIGHT, TableHead } from './row.js';
import { MissionSpan, SPAN_HEIGHT, TimeAxis, stretch } from './span.js';

const SMALLEST_CARD = 290;
const SPARE_PX = 400;
const STICKY_PX = 72;

/** How each view lays items out. @param {string} view @param {number} width */
function layout(view, width) {
  if (view === 'table') return { columns: 1, height: ROW_HEIGHT, gap: 0, item: MissionRow };
  if (view === 'timeline') return { columns: 1, height: SPAN_HEIGHT, gap: 0, item: MissionSpan };
  const gap = width < 640 ? 8 : GAP;
  return { columns: Math.max(1, Math.floor((width + gap) / (SMALLEST_CARD + gap))), height: CARD_HEIGHT, gap, item: MissionCard };
}

export function MissionList() {
  const { order, missions, route, cursor, checked, acting, feed } = state.value;
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const [seen, setSeen] = useState({ width: 0, top: 0, height: 900 });
  const { columns, height, gap, item: Item } = layout(route.view, seen.width);
  const rows = Math.ceil(order.length / columns);
  const rowHeight = height + gap;
  const first = Math.max(0, Math.floor((seen.top - SPARE_PX) / rowHeight));
  const last = Math.min(rows, Math.ceil((seen.top + seen.height + SPARE_PX) / rowHeight));
  const width = (seen.width - gap * (columns - 1)) / columns;

  useLayoutEffect(() => watch(/** @type {HTMLElement} */ (list.current), rowHeight, setSeen), [rowHeight]);
  useEffect(() => {
    // Two screens before the end is reached, the next page is asked for.
    if (seen.width && rows * rowHeight - (seen.top + seen.height) < 2 * seen.height) readMore();
  }, [feed, seen, rows, rowHeight]);
  // Nobody reads a list that is not there.
  useEffect(() => () => setReading({ scrolled: false, pointing: false }), []);
  useEffect(() => keepInSight(list.current, order.indexOf(cursor), columns, rowHeight), [cursor]);

  const shown = [];
  const time = route.view === 'timeline' ? stretch() : null;
  for (let at = first * columns; at < Math.min(order.length, last * columns); at += 1) {
    const mission = missions.get(order[at]);
    if (!mission || !seen.width) continue;
    shown.push(html`<${Item} key=${mission.id} mission=${mission} x=${Math.round((at % columns) * (width + gap))} y=${Math.floor(at / columns) * rowHeight}
      width=${Math.floor(width)} place=${at + 1} of=${order.length} open=${route.mission === mission.id} current=${cursor === mission.id} checked=${checked.has(mission.id)}
      acting=${acting.get(mission.id)} ...${time ?? {}} />`);
  }
  const isTable = route.view === 'table';
  return html`<div class="mission-list" data-view=${route.view} data-selecting=${String(checked.size > 0)} role=${isTable ? 'table' : 'group'} aria-label="Missions" aria-rowcount=${isTable ? order.length + 1 : undefined}
      onPointerEnter=${(/** @type {PointerEvent} */ event) => event.pointerType === 'mouse' && setReading({ pointing: true })}
      onPointerLeave=${() => setReading({ pointing: false })}>
    ${isTable && html`<${TableHead} />`}
    ${time && html`<${TimeAxis} ...${time} />`}
    <div class="mission-list__items" ref=${list} role=${isTable ? 'rowgroup' : 'list'} style=${{ height: `${Math.max(0, rows * rowHeight - gap)}px` }}>${shown}</div>
  </div>`;
}

/**
 * Follow where the list stands in the window; tell only when another row comes into sight.
 * @param {HTMLElement} element @param {number} rowHeight
 * @param {(seen: {width: number, top: number, height: number}) => void} tell
 */
function watch(element, rowHeight, tell) {
  let told = '';
  // Scroll events come once a frame and before anything is drawn anew: looking later would lay the page out twice.
  const look = () => {
    const box = element.getBoundingClientRect();
    setReading({ scrolled: box.top < STICKY_PX - rowHeight / 2 });
    const top = Math.floor(Math.max(0, -box.top) / rowHeight) * rowHeight;
    const key = `${element.clientWidth} ${top} ${window.innerHeight}`;
    if (key === told) return;
    told = key;
    tell({ width: element.clientWidth, top, height: window.innerHeight });
  };
  const sized = new ResizeObserver(look);
  sized.observe(element);
  window.addEventListener('scroll', look, { passive: true });
  window.addEventListener('resize', look);
  look();
  return () => {
    sized.disconnect();
    window.removeEventListener('scroll', look);
    window.removeEventListener('resize', look);
  };
}

/** @param {HTMLElement | null} list @param {number} at @param {number} columns @param {number} rowHeight */
function keepInSight(list, at, columns, rowHeight) {
  if (!list || at < 0) return;
  const y = list.getBoundingClientRect().top + Math.floor(at / columns) * rowHeight;
  if (y < STICKY_PX + 8) window.scrollBy({ top: y - STICKY_PX - 8, behavior: 'instant' });
  else if (y + rowHeight > window.innerHeight) window.scrollBy({ top: y + rowHeight - window.innerHeight + 12, behavior: 'instant' });
}

/** Filters by time let missions come and go as time passes. */
export function ageOut() {
  const { since, needs } = state.value.route;
  if ((since || needs) && Math.floor(now.value / 1000) % 15 === 0) change((before) => ({ ...before, shape: before.shape + 1 }));
}
