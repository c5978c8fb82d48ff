// The form that creates a mission. The server judges; what it says of a field is shown at the field.
import { html, useRef, useState } from '../html.js';
import { create, openMission, sentence } from '../actions.js';
import { Refusal } from '../api.js';
import { capital } from '../format.js';
import { PRIORITIES } from '../missions.js';
import { counts } from '../store.js';
import { Dialog, closeDialog } from './dialogs.js';

/** @typedef {{title: string, description: string, type: string, priority: string, agent_type: string, model_used: string, cost: string, tokens: string, seconds: string}} Wish */

/** @type {Wish} */
const BLANK = { title: '', description: '', type: '', priority: 'medium', agent_type: '', model_used: '', cost: '', tokens: '', seconds: '' };
/** Which field of the form shows what the server says of a field of the API. @type {Readonly<Record<string, keyof Wish>>} */
const SHOWN_AT = { title: 'title', description: 'description', metadata: 'type', priority: 'priority', agent_type: 'agent_type', model_used: 'model_used', budget: 'cost', 'budget.cost': 'cost', 'budget.tokens': 'tokens', 'budget.seconds': 'seconds' };
/** @type {readonly ('cost' | 'tokens' | 'seconds')[]} */
const LIMITS = ['cost', 'tokens', 'seconds'];

/** A text that no other wish has: also where the page is served without TLS and randomUUID is missing. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Wish} wish */
function toBody(wish) {
  /** @type {Record<string, unknown>} */
  const body = { title: wish.title, priority: wish.priority };
  if (wish.description) body.description = wish.description;
  if (wish.type.trim()) body.metadata = { type: wish.type.trim() };
  if (wish.agent_type.trim()) body.agent_type = wish.agent_type.trim();
  if (wish.model_used.trim()) body.model_used = wish.model_used.trim();
  // What is no number goes as it is, for the server to say so.
  const limits = LIMITS.filter((name) => wish[name].trim()).map((name) => [name, Number.isFinite(Number(wish[name])) ? Number(wish[name]) : wish[name]]);
  if (limits.length) body.budget = Object.fromEntries(limits);
  return body;
}

export function NewMission() {
  const [wish, setWish] = useState(BLANK);
  const [problems, setProblems] = useState(/** @type {Partial<Record<keyof Wish | 'form', string>>} */ ({}));
  const [busy, setBusy] = useState(false);
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  // One key for one wish: sending it again after a lost answer creates nothing twice. Changing the wish makes another.
  const key = useRef(newKey());
  /** @param {Partial<Wish>} patch */
  const change = (patch) => {
    key.current = newKey();
    setWish({ ...wish, ...patch });
  };
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setProblems({});
    try {
      const { mission_id: id } = await create(toBody(wish), key.current);
      closeDialog();
      openMission(id);
    } catch (error) {
      setBusy(false);
      setProblems(problemsOf(error));
      requestAnimationFrame(() => /** @type {HTMLElement | null} */ (form.current?.querySelector('[aria-invalid="true"]'))?.focus());
    }
  };
  /** @param {string} facet */
  const known = (facet) => Object.keys(counts.value?.facets[facet] ?? {}).slice(0, 50);
  const shared = { wish, problems, change };
  return html`<${Dialog} title="New mission"><form class="form" ref=${form} onSubmit=${submit} noValidate>
    ${problems.form && html`<div class="notice" data-tone="error" role="alert">${problems.form}</div>`}
    <${Field} ...${shared} name="title" label="Title" required=${true} first=${true} />
    <${Field} ...${shared} name="description" label="Description" long=${true} />
    <fieldset class="form__field"><legend>Priority</legend><div class="segments">
      ${[...PRIORITIES].reverse().map((name) => html`<label key=${name} class="segments__one"><input type="radio" name="priority" value=${name} checked=${wish.priority === name} onChange=${() => change({ priority: name })} /><span>${capital(name)}</span></label>`)}
    </div></fieldset>
    <div class="form__pair">
      <${Field} ...${shared} name="type" label="Type" options=${known('type')} hint="for example data_analysis" />
      <${Field} ...${shared} name="agent_type" label="Agent" options=${known('agent_type')} />
      <${Field} ...${shared} name="model_used" label="Model" options=${known('model_used')} />
    </div>
    <fieldset class="form__field"><legend>Budget: the mission is cancelled when one is used up</legend><div class="form__three">
      <${Field} ...${shared} name="cost" label="Cost in US$" numeric=${true} />
      <${Field} ...${shared} name="tokens" label="Tokens" numeric=${true} />
      <${Field} ...${shared} name="seconds" label="Seconds" numeric=${true} />
    </div></fieldset>
    <footer class="dialog__foot"><button type="button" class="button" onClick=${closeDialog}>Cancel</button>
      <button type="submit" class="button" data-tone="primary" disabled=${busy}>${busy ? 'Creating…' : 'Create mission'}</button></footer>
  </form></${Dialog}>`;
}

/** @param {unknown} error */
function problemsOf(error) {
  /** @type {Partial<Record<keyof Wish | 'form', string>>} */
  const problems = {};
  const told = error instanceof Refusal ? error.errors : [];
  for (const { field, message } of told) {
    const at = SHOWN_AT[field];
    if (at) problems[at] = capital(String(message));
    else problems.form = `${field}: ${message}`;
  }
  if (!told.length) problems.form = sentence(error);
  return problems;
}

/**
 * @param {{name: keyof Wish, label: string, wish: Wish, problems: Partial<Record<string, string>>, change: (patch: Partial<Wish>) => void,
 *   required?: boolean, first?: boolean, long?: boolean, numeric?: boolean, options?: string[], hint?: string}} props
 */
function Field({ name, label, wish, problems, change, required = false, first = false, long = false, numeric = false, options, hint = '' }) {
  const problem = problems[name];
  const common = {
    id: `new-${name}`, class: 'field__input', value: wish[name], dir: 'auto', autocomplete: 'off', placeholder: hint,
    'aria-invalid': problem ? 'true' : undefined, 'aria-describedby': problem ? `new-${name}-problem` : undefined, 'aria-required': required ? 'true' : undefined,
    'data-first': first ? '' : undefined, inputmode: numeric ? 'decimal' : undefined, list: options?.length ? `new-${name}-known` : undefined,
    onInput: (/** @type {any} */ event) => change({ [name]: event.target.value }),
  };
  return html`<div class="form__field"><label for=${common.id}>${label}${required && html` <span class="faint">(required)</span>`}</label>
    ${long ? html`<textarea rows="3" ...${common}></textarea>` : html`<input type="text" ...${common} />`}
    ${options && options.length > 0 && html`<datalist id=${`new-${name}-known`}>${options.map((option) => html`<option key=${option} value=${option}></option>`)}</datalist>`}
    ${problem && html`<p class="form__problem" id=${`new-${name}-problem`}>${problem}</p>`}</div>`;
}
