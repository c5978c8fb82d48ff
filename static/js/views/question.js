// What a mission asks a person, and the ways to answer it: on its card, and in the drawer.
import { html, useEffect, useLayoutEffect, useRef, useState } from '../html.js';
import { answer, openMission } from '../actions.js';
import { ticking } from '../format.js';
import { mayNot, session } from '../session.js';
import { MAX_NAME, personName, setPersonName } from '../settings.js';
import { now } from '../store.js';
import { answerWanted, focusWanted } from '../ui.js';
import { Time } from './bits.js';
import { Icon } from './icons.js';

/** @typedef {import('../missions.js').Mission} Mission */
/** @typedef {import('../missions.js').Question} Question */

const ON_A_CARD = 3;
const SHORT_OPTION = 24;
const MAX_ANSWER = 10_000;

/** What was typed and not sent, by question: scrolling away, or opening the drawer, loses none of it. @type {Map<string, string>} */
const drafts = new Map();

/** The answers on a card: buttons while they fit, else the way to all of them. @param {{mission: Mission, acting?: string}} props */
export function CardAnswers({ mission, acting }) {
  const { question } = mission;
  if (!question || mayNot('operate')) return null;
  const whole = question.options && question.options.length <= ON_A_CARD && question.options.every((option) => option.length <= SHORT_OPTION);
  return html`<${KeepsFocus} mission=${mission} kind="mission-card__answers">
    ${question.options && !whole
      ? html`<button type="button" class="button button--small" onClick=${() => openAnswers(mission.id)}>Choose an answer…<span class="visually-hidden"> ${mission.title}</span></button>`
      : html`<${Answers} mission=${mission} question=${question} acting=${acting} small=${true} />`}
  </${KeepsFocus}>`;
}

/** The question in the drawer, whole. @param {{mission: Mission, acting?: string}} props */
export function QuestionPanel({ mission, acting }) {
  const panel = useRef(/** @type {HTMLElement | null} */ (null));
  const { question } = mission;
  const wanted = answerWanted.value;
  useEffect(() => {
    if (wanted !== mission.id || !question) return;
    answerWanted.value = '';
    /** @type {HTMLElement | null} */ (panel.current?.querySelector('.answers button, .answers textarea, .answers input'))?.focus();
  }, [wanted, mission.id, question?.id]);
  if (!question) return null;
  return html`<section class="question" ref=${panel} aria-label="Question">
    <p class="question__text" dir="auto"><${Icon} name="question" /><span>${question.text}</span></p>
    ${!mayNot('operate') && html`<${KeepsFocus} mission=${mission} kind="question__answers"><${Answers} mission=${mission} question=${question} acting=${acting} /></${KeepsFocus}>`}
    <p class="question__about">
      <span><${Time} at=${question.asked_at} prefix="asked " /></span>
      ${question.expires_at !== null && html`<span>waits ${ticking(Math.max(0, (question.expires_at - now.value) / 1000))} more</span>`}
      ${!mayNot('operate') && html`<${PersonName} id="answering-as" label="Answering as" />`}
    </p>
  </section>`;
}

/** @param {{mission: Mission, question: Question, acting?: string, small?: boolean}} props */
function Answers({ mission, question, acting, small = false }) {
  const size = small ? 'button button--small' : 'button';
  if (question.options) {
    return html`<div class="answers" role="group" aria-label=${`Answers to ${mission.title}`}>${question.options.map((option, index) => html`
      <button type="button" key=${option} class=${size} data-tone=${index === 0 ? 'answer' : 'plain'} disabled=${Boolean(acting)} title=${option}
        onClick=${() => answer(mission.id, question.id, option)}><bdi>${option}</bdi></button>`)}</div>`;
  }
  return html`<${FreeAnswer} key=${question.id} mission=${mission} question=${question} acting=${acting} small=${small} />`;
}

/** @param {{mission: Mission, question: Question, acting?: string, small: boolean}} props */
function FreeAnswer({ mission, question, acting, small }) {
  const [text, setText] = useState(drafts.get(question.id) ?? '');
  /** @param {string} value */
  const keep = (value) => {
    drafts.set(question.id, value);
    setText(value);
  };
  /** @param {Event} event */
  const send = async (event) => {
    event.preventDefault();
    if (!text.trim() || acting) return;
    if (await answer(mission.id, question.id, text.trim())) drafts.delete(question.id);
  };
  const field = {
    class: 'field__input', value: text, dir: 'auto', autocomplete: 'off', maxlength: MAX_ANSWER, placeholder: 'Type the answer', 'aria-label': `Answer to ${mission.title}`,
    onInput: (/** @type {any} */ event) => keep(event.target.value),
  };
  return html`<form class="answers" data-free="true" onSubmit=${send}>
    ${small ? html`<input type="text" ...${field} />` : html`<textarea rows="2" ...${field} onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && send(event)}></textarea>`}
    <button type="submit" class=${small ? 'button button--small' : 'button'} data-tone="answer" disabled=${Boolean(acting) || !text.trim()}>${acting === 'answer' ? 'Sending…' : 'Send'}</button>
  </form>`;
}

/**
 * Gives the focus back to the mission when somebody else's answer takes the controls away from under it.
 * @param {{mission: Mission, kind: string, children?: any}} props
 */
function KeepsFocus({ mission, kind, children }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    const element = place.current;
    return () => {
      if (!element?.contains(document.activeElement)) return;
      const drawer = /** @type {HTMLElement | null} */ (element.closest('.drawer'));
      if (drawer) drawer.focus({ preventScroll: true });
      else focusWanted.value = mission.id;
    };
  }, []);
  return html`<div class=${kind} ref=${place}>${children}</div>`;
}

/** @param {string} id */
function openAnswers(id) {
  answerWanted.value = id;
  openMission(id, 'overview');
}

/** Who the records will name: whoever is logged in, else who one says one is. @param {{id: string, label: string}} props */
export function PersonName({ id, label }) {
  if (session.value?.kind === 'person') return html`<span class="person-name">${label} <b><bdi>${session.value.name}</bdi></b></span>`;
  return html`<span class="person-name"><label for=${id}>${label}</label>
    <input id=${id} class="field__input" type="text" dir="auto" autocomplete="name" maxlength=${MAX_NAME} placeholder="your name (optional)" value=${personName.value}
      onInput=${(/** @type {any} */ event) => setPersonName(event.target.value)} /></span>`;
}
