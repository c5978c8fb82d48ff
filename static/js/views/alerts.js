// The alerts panel: what is wrong now, the rules that find it, and the channels that tell of it. Loaded when it is opened.
import { Fragment, html, useEffect, useState } from '../html.js';
import { openMission, sentence } from '../actions.js';
import { alertNews, change, notifying, read, setNotifying } from '../alerts.js';
import { exact, plural, relative } from '../format.js';
import { mayNot } from '../session.js';
import { personName } from '../settings.js';
import { now } from '../store.js';
import { Channels } from './alert-channels.js';
import { Rules } from './alert-rules.js';
import { Needs } from './bits.js';
import { Dialog, closeDialog } from './dialogs.js';
import { Icon } from './icons.js';

const TABS = { firing: 'Firing', rules: 'Rules', channels: 'Channels' };
const SILENCE_MINUTES = 60;
const ICONS = /** @type {Record<string, string>} */ ({ info: 'question', warning: 'stalled', critical: 'failed' });

export function Alerts() {
  const [tab, setTab] = useState('firing');
  const Panel = /** @type {Record<string, any>} */ ({ firing: Firing, rules: Rules, channels: Channels })[tab];
  return html`<${Dialog} title="Alerts" kind="alerts">
    <div class="tabs alerts__tabs" role="group" aria-label="Alerts">
      ${Object.entries(TABS).map(([name, label]) => html`<button type="button" key=${name} class="tab" aria-pressed=${String(tab === name)} onClick=${() => setTab(name)}>${label}</button>`)}
    </div>
    <${Panel} />
  </${Dialog}>`;
}

/** What is read from the server, read again when alerts change. @param {string} path @param {unknown[]} [also] */
export function useAlerts(path, also = []) {
  const [answer, setAnswer] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState('');
  const readIt = async () => {
    try {
      setAnswer(await read(path));
      setProblem('');
    } catch (error) {
      setProblem(sentence(error));
    }
  };
  useEffect(() => { readIt(); }, [path, alertNews.value, ...also]);
  /** @param {'POST' | 'PUT' | 'DELETE'} method @param {string} where @param {unknown} [body] */
  const settle = async (method, where, body) => {
    try {
      const said = await change(method, where, body);
      await readIt();
      return said;
    } catch (error) {
      setProblem(sentence(error));
      return null;
    }
  };
  return { answer, problem, settle, forget: () => setProblem('') };
}

function Firing() {
  const [ended, setEnded] = useState(false);
  const { answer, problem, settle } = useAlerts(ended ? '?state=all&limit=100' : '?limit=100');
  const silences = useAlerts('/silences');
  const by = personName.value.trim() ? { by: personName.value.trim() } : {};
  /** @type {import('../alerts.js').Alert[]} */
  const alerts = answer?.alerts ?? [];
  /** @param {import('../alerts.js').Alert} alert */
  const silence = (alert) => silences.settle('POST', '/silences', { minutes: SILENCE_MINUTES, rule_id: alert.rule_id, ...by });
  return html`
    ${(problem || silences.problem) && html`<div class="notice" data-tone="error" role="alert">${problem || silences.problem}</div>`}
    <div class="alerts__tools"><${Notifying} />
      <label class="alerts__choice"><input type="checkbox" checked=${ended} onChange=${() => setEnded(!ended)} />Show what ended</label></div>
    ${silences.answer?.silences.map((/** @type {any} */ one) => html`<div class="notice" key=${one.id}><p>Silent for ${relative(Date.parse(one.ends_at), now.value).replace('in ', '')}: <bdi>${what(one, alerts)}</bdi>${one.created_by && html`, by <bdi>${one.created_by}</bdi>`}</p>
      <${Needs} scope="operate"><button type="button" class="button button--small" onClick=${() => silences.settle('DELETE', `/silences/${one.id}`)}>End silence</button></${Needs}></div>`)}
    ${answer && alerts.length === 0 && html`<p class="alerts__none"><${Icon} name="completed" />No alert is firing${ended ? ', and none was' : ''}. Rules say what is looked for.</p>`}
    <ul class="alerts__list" aria-live="polite">
      ${alerts.map((alert) => html`<li key=${alert.id} class="alert" data-severity=${alert.severity} data-state=${alert.state}>
        <div class="alert__head"><${Icon} name=${ICONS[alert.severity] ?? 'stalled'} /><b>${alert.severity}</b><bdi>${alert.rule_name}</bdi>
          <time title=${exact(Date.parse(alert.fired_at))}>${relative(Date.parse(alert.fired_at), now.value)}</time></div>
        <p class="alert__text" dir="auto">${alert.summary}</p>
        <p class="faint">${[alert.count > 1 && `${plural(alert.count, 'time')}`, alert.state === 'resolved' && 'ended', alert.silenced && 'silenced',
          alert.acknowledged_at && `acknowledged${alert.acknowledged_by ? ` by ${alert.acknowledged_by}` : ''}`].filter(Boolean).join(' · ')}</p>
        <div class="alert__acts">
          ${alert.mission_id && html`<button type="button" class="button button--small" onClick=${() => { closeDialog(); openMission(/** @type {string} */ (alert.mission_id)); }}>Open mission</button>`}
          ${alert.state === 'firing' && !mayNot('operate') && html`<${Fragment}>
          ${!alert.acknowledged_at && html`<button type="button" class="button button--small" onClick=${() => settle('POST', `/${alert.id}/acknowledge`, by)}>Acknowledge</button>`}
          ${alert.rule_id && html`<button type="button" class="button button--small" onClick=${() => silence(alert)}>Silence rule 1 h</button>`}
          <button type="button" class="button button--small" onClick=${() => settle('POST', `/${alert.id}/resolve`)}>Resolve</button></${Fragment}>`}
        </div></li>`)}
    </ul>
    ${more(answer, ended)}`;
}

/** What the list does not show. @param {any} answer @param {boolean} ended */
function more(answer, ended) {
  const left = (answer?.counts.open ?? 0) - answer?.alerts.length;
  if (ended ? !answer?.next_cursor : !(left > 0)) return null;
  return html`<p class="faint">${ended ? 'Older ones are not shown.' : `${plural(left, 'older one is', 'older ones are')} firing too.`}</p>`;
}

/** @param {any} silence @param {import('../alerts.js').Alert[]} alerts */
function what(silence, alerts) {
  if (silence.rule_id) return alerts.find((alert) => alert.rule_id === silence.rule_id)?.rule_name ?? 'a rule';
  return silence.mission_id ? 'a mission' : 'some missions';
}

function Notifying() {
  const [problem, setProblem] = useState('');
  return html`<label class="alerts__choice"><input type="checkbox" checked=${notifying.value} onChange=${async (/** @type {any} */ event) => setProblem(await setNotifying(event.target.checked))} />
    Notify me in this browser</label>${problem && html`<p class="form__problem" role="alert">${problem}</p>`}`;
}
