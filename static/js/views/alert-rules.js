// The rules of alerts: a list, and a form for one.
import { html, useLayoutEffect, useRef, useState } from '../html.js';
import { words } from '../format.js';
import { useAlerts } from './alerts.js';
import { Needs } from './bits.js';

/** What each signal is called, and what its threshold counts; without one it is an event. @type {Readonly<Record<string, [string, string?]>>} */
const SIGNALS = {
  failed: ['A mission fails'],
  stalled: ['A mission is silent'],
  over_budget: ['A budget stops a mission'],
  unconfirmed_cancel: ['A cancel is not confirmed'],
  question: ['A mission asks a person'],
  error_rate: ['Error rate', 'percent'],
  duration_p95: ['95% of durations', 'seconds'],
  slow: ['Missions slower than 95% like them', 'missions'],
  cost_per_hour: ['Cost per hour', 'US$'],
  queue_age: ['Longest wait', 'seconds'],
  silence: ['Nothing heard for', 'seconds'],
  count: ['Number of missions', 'missions'],
};
/** The measures of what is now, whatever was before. */
const OF_NOW = ['queue_age', 'silence'];
const FILTERS = ['type', 'agent_type', 'model_used', 'priority'];
const BLANK = { id: '', name: '', signal: 'failed', threshold: '', window: '15', cooldown: '5', severity: 'warning', enabled: true, type: '', agent_type: '', model_used: '', priority: '' };

/** @param {string} text */
const list = (text) => text.split(',').map((part) => part.trim()).filter(Boolean);
/** What is no number goes as it is, for the server to say so. @param {string} text @param {number} factor */
const number = (text, factor = 1) => (Number.isFinite(Number(text)) ? Number(text) * factor : text);

/** @param {typeof BLANK & {kept?: any}} wish */
function toBody(wish) {
  /** @type {Record<string, unknown>} */
  const body = { ...wish.kept, name: wish.name.trim(), signal: wish.signal, severity: wish.severity, enabled: wish.enabled,
    window_s: number(wish.window, 60), cooldown_s: number(wish.cooldown, 60), threshold: null, filter: {} };
  if (SIGNALS[wish.signal]?.[1] && wish.threshold.trim()) body.threshold = number(wish.threshold);
  body.filter = Object.fromEntries(FILTERS.map((name) => [name, list(/** @type {any} */ (wish)[name])]));
  if (wish.signal === 'count' && wish.kept?.status?.length) body.filter = { .../** @type {any} */ (body.filter), status: wish.kept.status };
  delete body.status;
  return body;
}

/** What a rule looks for, in words. @param {any} rule */
function looksFor({ signal, threshold, window_s: window }) {
  const [label, unit] = SIGNALS[signal] ?? [words(signal)];
  if (threshold === null) return label;
  const measure = `${label}: ${threshold} ${threshold === 1 ? unit?.replace(/s$/, '') : unit}`;
  return OF_NOW.includes(signal) ? measure : `${measure} in ${window / 60} min`;
}

/** @param {any} rule */
function toWish(rule) {
  const { channels, min_count, resolves, notify_resolved } = rule;
  const filter = Object.fromEntries(FILTERS.map((name) => [name, rule.filter[name].join(', ')]));
  return { ...BLANK, ...filter, id: rule.id, name: rule.name, signal: rule.signal, threshold: String(rule.threshold ?? ''), window: String(rule.window_s / 60),
    cooldown: String(rule.cooldown_s / 60), severity: rule.severity, enabled: rule.enabled, kept: { channels, min_count, resolves, notify_resolved, status: rule.filter.status } };
}

export function Rules() {
  const { answer, problem, settle, forget } = useAlerts('/rules');
  const [wish, setWish] = useState(/** @type {any} */ (null));
  const place = useFormFocus(Boolean(wish));
  const rules = answer?.rules ?? [];
  /** Begin with one, or end with none. @param {any} one */
  const edit = (one) => {
    forget();
    setWish(one);
  };
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    if (await settle(wish.id ? 'PUT' : 'POST', `/rules${wish.id && `/${wish.id}`}`, toBody(wish))) edit(null);
  };
  return html`<div hidden=${Boolean(wish)}>
    ${problem && !wish && html`<div class="notice" data-tone="error" role="alert">${problem}</div>`}
    ${answer && rules.length === 0 && html`<p>No rule looks for anything yet.</p>`}
    <ul class="alerts__list">${rules.map((/** @type {any} */ rule) => html`<li key=${rule.id} class="alert" data-state=${rule.enabled ? 'on' : 'resolved'}>
      <div class="alert__head"><b><bdi>${rule.name}</bdi></b><span>${rule.severity}${rule.enabled ? '' : ' · off'}</span></div>
      <p class="faint">${looksFor(rule)}</p>
      <${Needs} scope="admin"><div class="alert__acts"><button type="button" class="button button--small" onClick=${() => edit(toWish(rule))}>Change<span class="visually-hidden"> ${rule.name}</span></button>
        <${Delete} name=${rule.name} run=${() => settle('DELETE', `/rules/${rule.id}`)} /></div></${Needs}></li>`)}</ul>
    <${Needs} scope="admin"><div class="alert__acts"><button type="button" class="button" onClick=${() => edit({ ...BLANK })}>New rule</button>
      ${answer?.usual.length > 0 && html`<button type="button" class="button" data-tone="primary" onClick=${() => settle('POST', '/rules/usual')}>Add the usual rules</button>`}</div></${Needs}></div>
    ${wish && html`<${Form} kind="rule" place=${place} wish=${wish} set=${setWish} problem=${problem} submit=${submit} back=${() => edit(null)}>
      <div class="form__pair">
        <${Text} wish=${wish} set=${setWish} name="name" label="Name" />
        <${Choice} wish=${wish} set=${setWish} name="signal" label="Looks for" options=${Object.entries(SIGNALS).map(([value, [label]]) => [value, label])} />
        <${Choice} wish=${wish} set=${setWish} name="severity" label="Severity" options=${['info', 'warning', 'critical'].map((value) => [value, value])} />
        <${Text} wish=${wish} set=${setWish} name="cooldown" label="Cooldown in minutes" />
        ${SIGNALS[wish.signal]?.[1] && html`<${Text} wish=${wish} set=${setWish} name="threshold" label=${`Fires from (${SIGNALS[wish.signal]?.[1]})`} />
          ${!OF_NOW.includes(wish.signal) && html`<${Text} wish=${wish} set=${setWish} name="window" label="Looks back, minutes" />`}`}
        ${FILTERS.map((name) => html`<${Text} key=${name} wish=${wish} set=${setWish} name=${name} label=${`Only ${words(name).replace(' used', '').replace('agent type', 'agent')}`} hint="any; several with commas" />`)}
      </div>
    </${Form}>`}`;
}

/** Asks once more before what cannot be taken back. @param {{name: string, run: () => unknown}} props */
export function Delete({ name, run }) {
  const [sure, setSure] = useState(false);
  return html`<button type="button" class="button button--small" data-tone=${sure ? 'danger-filled' : 'danger'} onBlur=${() => setSure(false)}
    onClick=${() => (sure ? run() : setSure(true))}>${sure ? 'Really delete?' : 'Delete'}<span class="visually-hidden"> ${name}</span></button>`;
}

/** The form takes the focus when it opens and gives it back; returns the ref of its place. @param {boolean} open */
export function useFormFocus(open) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    if (!open) return undefined;
    const before = document.activeElement;
    place.current?.querySelector('input')?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, [open]);
  return place;
}

/**
 * Stands in place of the list while one of it is made or changed.
 * @param {{kind: string, place: any, wish: any, set: (wish: any) => void, problem: string, submit: (event: Event) => void, back: () => void, children?: any}} props
 */
export function Form({ kind, place, wish, set, problem, submit, back, children }) {
  return html`<form class="form" ref=${place} onSubmit=${submit} noValidate>${children}
    <label class="alerts__choice"><input type="checkbox" checked=${wish.enabled} onChange=${() => set({ ...wish, enabled: !wish.enabled })} />On</label>
    ${problem && html`<div class="notice" data-tone="error" role="alert">${problem}</div>`}
    <footer class="dialog__foot"><button type="button" class="button" onClick=${back}>Back</button><button type="submit" class="button" data-tone="primary">Save ${kind}</button></footer>
  </form>`;
}

/** @param {{wish: any, set: (wish: any) => void, name: string, label: string, hint?: string, type?: string}} props */
export function Text({ wish, set, name, label, hint = '', type = 'text' }) {
  return html`<div class="form__field"><label for=${`alert-${name}`}>${label}</label><input type=${type} id=${`alert-${name}`} class="field__input" dir="auto" autocomplete="off" placeholder=${hint} value=${wish[name]}
    onInput=${(/** @type {any} */ event) => set({ ...wish, [name]: event.target.value })} /></div>`;
}

/** @param {{wish: any, set: (wish: any) => void, name: string, label: string, options: string[][], fixed?: boolean}} props */
export function Choice({ wish, set, name, label, options, fixed = false }) {
  return html`<div class="form__field"><label for=${`alert-${name}`}>${label}</label><select id=${`alert-${name}`} class="field__input" disabled=${fixed} value=${wish[name]}
    onChange=${(/** @type {any} */ event) => set({ ...wish, [name]: event.target.value })}>${options.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select></div>`;
}
