// The drawer's log: follows what the mission writes until the reader scrolls up.
import { Component, html, useLayoutEffect, useMemo, useRef, useState } from '../html.js';
import { copy } from '../actions.js';
import { clock, count, exact } from '../format.js';
import { MOST_LINES, lineMatcher, linesOf } from '../lines.js';
import { readRecordsAgain, records } from '../records.js';
import { Icon } from './icons.js';

const NEAR_PX = 24;
const LEVEL_NAMES = { debug: 'All levels', info: 'Info and above', warning: 'Warnings and errors', error: 'Errors' };

export function Logs() {
  const { log, read, cut, problem, id } = records.value;
  const [level, setLevel] = useState('debug');
  const [sought, setSought] = useState('');
  const [following, setFollowing] = useState(true);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const wanted = useMemo(() => lineMatcher(level, sought.trim()), [level, sought]);
  useFollow(place, following, setFollowing, log);
  const lines = linesOf(log);
  const shown = lines.filter(wanted);
  return html`<div class="logs" ref=${place}>
    <div class="logs__tools">
      <select class="field__input" aria-label="Level" value=${level} onChange=${(/** @type {any} */ event) => setLevel(event.target.value)}>
        ${Object.entries(LEVEL_NAMES).map(([name, label]) => html`<option key=${name} value=${name}>${label}</option>`)}</select>
      <input class="field__input" type="search" aria-label="Find in the log" placeholder="Find…" value=${sought} onInput=${(/** @type {any} */ event) => setSought(event.target.value)} />
      <button type="button" class="button button--icon" title="Copy what is shown" onClick=${() => copy(shown.map(asText).join('\n'), 'the log')}><${Icon} name="copy" /><span class="visually-hidden">Copy the log</span></button>
    </div>
    ${problem && html`<div class="notice" data-tone="error"><p>${problem}</p><button type="button" class="button button--small" onClick=${readRecordsAgain}>Try again</button></div>`}
    ${!read && !problem && html`<p class="drawer__text faint">Loading…</p>`}
    ${read && !lines.length && html`<p class="drawer__text faint">It has written no log. Lines sent to <code>POST /api/missions/${id}/logs</code> appear here.</p>`}
    ${lines.length > 0 && !shown.length && html`<p class="drawer__text faint">No line matches.</p>`}
    ${(cut || log.dropped) && html`<p class="drawer__text faint">The newest ${log.dropped ? `${count(MOST_LINES)} ` : ''}lines; the whole log is in <a href=${`/api/missions/${encodeURIComponent(id)}/logs`}>the API</a>.</p>`}
    <ol class="logs__lines" aria-label="Log">${log.chunks.map((chunk) => html`<${LogChunk} key=${chunk.key} chunk=${chunk} wanted=${wanted} />`)}</ol>
    ${!following && html`<button type="button" class="logs__live" onClick=${() => setFollowing(true)}><${Icon} name="chevron" />Jump to live</button>`}
  </div>`;
}

/**
 * Keep the newest line in sight while following; scrolling up ends that, scrolling to the end takes it up again.
 * @param {{current: HTMLElement | null}} place @param {boolean} following @param {(on: boolean) => void} setFollowing @param {unknown} log
 */
function useFollow(place, following, setFollowing, log) {
  const top = useRef(0);
  useLayoutEffect(() => {
    const scroller = /** @type {HTMLElement} */ (place.current?.closest('.drawer__body'));
    const look = () => {
      const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
      if (atEnd) setFollowing(true);
      else if (scroller.scrollTop < top.current - 1) setFollowing(false);
      top.current = scroller.scrollTop;
    };
    scroller.addEventListener('scroll', look, { passive: true });
    return () => scroller.removeEventListener('scroll', look);
  }, []);
  useLayoutEffect(() => {
    const scroller = place.current?.closest('.drawer__body');
    if (following && scroller) scroller.scrollTop = scroller.scrollHeight;
  }, [following, log]);
}

/** @param {import('../lines.js').Line} line */
const asText = ({ at, level, message }) => `${new Date(at).toISOString()} ${level.toUpperCase()} ${message}`;

/** Lines drawn together, and again only when one was added. */
class LogChunk extends Component {
  /** @param {any} next */
  shouldComponentUpdate(next) {
    const { chunk, wanted } = /** @type {any} */ (this.props);
    return next.chunk !== chunk || next.wanted !== wanted;
  }

  render() {
    const { chunk, wanted } = /** @type {{chunk: import('../lines.js').Chunk, wanted: (line: import('../lines.js').Line) => boolean}} */ (/** @type {unknown} */ (this.props));
    return chunk.lines.filter(wanted).map(({ id, at, level, message }) => html`<li key=${id} class="logs__line" data-level=${level}>
      <time class="logs__time" datetime=${new Date(at).toISOString()} title=${exact(at)}>${clock(at)}</time>
      <span class="logs__said"><span class=${level === 'info' ? 'visually-hidden' : 'logs__level'}>${level} </span><bdi class="logs__message">${message}</bdi></span></li>`);
  }
}
