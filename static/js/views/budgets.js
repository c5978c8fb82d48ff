// Daily budgets: what all missions, or those of one agent, may use in a UTC day, and what is used of it.
import { html, useEffect, useState } from '../html.js';
import * as api from '../api.js';
import { sentence } from '../actions.js';
import { capital } from '../format.js';
import { use } from '../missions.js';
import { counts } from '../store.js';
import { Needs } from './bits.js';
import { Dialog } from './dialogs.js';
import { Gauge } from './gauge.js';

/** @typedef {{name: string, agent_type: string | null, cost: number | null, tokens: number | null, used?: {cost: number, tokens: number}}} Budget */
/** @typedef {{name: string, agent_type: string, cost: string, tokens: string}} Wish */

/** @type {Wish} */
const BLANK = { name: '', agent_type: '', cost: '', tokens: '' };
const LOOK_AGAIN_MS = 5_000;

/** What is no number goes as it is, for the server to say so. @param {string} text */
const numeric = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);

/** @param {Wish} wish */
function toBody({ agent_type: agent, cost, tokens }) {
  /** @type {Record<string, unknown>} */
  const body = {};
  if (agent.trim()) body.agent_type = agent.trim();
  if (cost.trim()) body.cost = numeric(cost);
  if (tokens.trim()) body.tokens = numeric(tokens);
  return body;
}

export function Budgets() {
  const [budgets, setBudgets] = useState(/** @type {Budget[] | null} */ (null));
  const [problem, setProblem] = useState('');
  const [gone, setGone] = useState(/** @type {Budget | null} */ (null));
  const [wish, setWish] = useState(BLANK);
  const [wrong, setWrong] = useState(/** @type {Record<string, string>} */ ({}));
  const read = async () => {
    try {
      const answer = await api.listBudgets();
      setBudgets(Array.isArray(answer.budgets) ? answer.budgets : []);
      setProblem('');
    } catch (error) {
      setProblem(sentence(error));
    }
  };
  useEffect(() => {
    read();
    const timer = setInterval(read, LOOK_AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  /** @param {() => Promise<unknown>} change */
  const settle = async (change) => {
    try {
      await change();
    } catch (error) {
      setProblem(sentence(error));
      return;
    }
    await read();
  };
  /** @param {Budget} budget */
  const drop = (budget) => settle(async () => {
    await api.dropBudget(budget.name);
    setGone(budget);
  });
  /** @param {Budget} budget */
  const undo = (budget) => settle(async () => {
    const { name, agent_type: agent, cost, tokens } = budget;
    await api.putBudget(name, { agent_type: agent, cost, tokens });
    setGone(null);
  });
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    if (!wish.name.trim()) {
      setWrong({ name: 'Give it a name' });
      return;
    }
    try {
      await api.putBudget(wish.name.trim(), toBody(wish));
      setWish(BLANK);
      setWrong({});
      setGone(null);
      await read();
    } catch (error) {
      setWrong(problemsOf(error));
    }
  };
  const shared = { wish, wrong, change: (/** @type {Partial<Wish>} */ patch) => setWish({ ...wish, ...patch }) };
  return html`<${Dialog} title="Daily budgets">
    <p class="faint">At 80% of a limit a running mission is warned, at 100% it is cancelled. Days are UTC.</p>
    ${problem && html`<div class="notice" data-tone="error" role="alert">${problem}</div>`}
    <div class="budgets" aria-live="polite">
      ${budgets?.length === 0 && html`<p class="faint">No daily budget is set.</p>`}
      ${budgets?.map((budget) => html`<section key=${budget.name} class="budget" aria-label=${`Budget ${budget.name}`}>
        <header class="budget__head"><h3><bdi>${budget.name}</bdi></h3><span class="faint">${budget.agent_type ? html`<bdi>${budget.agent_type}</bdi>` : 'all agents'}</span>
          <${Needs} scope="operate"><button type="button" class="button button--small" onClick=${() => setWish({ name: budget.name, agent_type: budget.agent_type ?? '', cost: String(budget.cost ?? ''), tokens: String(budget.tokens ?? '') })}>Change<span class="visually-hidden"> ${budget.name}</span></button>
          <button type="button" class="button button--small" data-tone="danger" onClick=${() => drop(budget)}>Delete<span class="visually-hidden"> ${budget.name}</span></button></${Needs}></header>
        ${budget.cost !== null && html`<${Gauge} use=${use('cost', budget.used?.cost ?? 0, budget.cost)} />`}
        ${budget.tokens !== null && html`<${Gauge} use=${use('tokens', budget.used?.tokens ?? 0, budget.tokens)} />`}
      </section>`)}
      ${gone && html`<div class="notice"><p>Deleted <bdi>${gone.name}</bdi>.</p><button type="button" class="button button--small" onClick=${() => undo(gone)}>Undo</button></div>`}
    </div>
    <${Needs} scope="operate"><form class="form budgets__form" onSubmit=${submit} noValidate>
      ${wrong.form && html`<div class="notice" data-tone="error" role="alert">${wrong.form}</div>`}
      <div class="form__pair">
        <${Field} ...${shared} name="name" label="Name" hint="for example everything" />
        <${Field} ...${shared} name="agent_type" label="Agent" hint="all agents" options=${Object.keys(counts.value?.facets.agent_type ?? {}).slice(0, 50)} />
        <${Field} ...${shared} name="cost" label="Cost a day in US$" />
        <${Field} ...${shared} name="tokens" label="Tokens a day" />
      </div>
      <footer class="dialog__foot"><button type="submit" class="button" data-tone="primary">Set budget</button></footer>
    </form></${Needs}></${Dialog}>`;
}

/** @param {unknown} error @returns {Record<string, string>} */
function problemsOf(error) {
  const told = error instanceof api.Refusal ? error.errors : [];
  /** @type {Record<string, string>} */
  const problems = {};
  for (const { field, message } of told) {
    if (field in BLANK) problems[field] = capital(String(message));
    else problems.form = capital(String(message));
  }
  return told.length ? problems : { form: sentence(error) };
}

/** @param {{name: keyof Wish, label: string, hint?: string, options?: string[], wish: Wish, wrong: Record<string, string>, change: (patch: Partial<Wish>) => void}} props */
function Field({ name, label, hint = '', options, wish, wrong, change }) {
  const id = `budget-${name}`;
  return html`<div class="form__field"><label for=${id}>${label}</label>
    <input type="text" id=${id} class="field__input" dir="auto" autocomplete="off" placeholder=${hint} value=${wish[name]} inputmode=${name === 'cost' || name === 'tokens' ? 'decimal' : undefined}
      list=${options?.length ? `${id}-known` : undefined} aria-invalid=${wrong[name] ? 'true' : undefined} aria-describedby=${wrong[name] ? `${id}-problem` : undefined}
      onInput=${(/** @type {any} */ event) => change({ [name]: event.target.value })} />
    ${options && options.length > 0 && html`<datalist id=${`${id}-known`}>${options.map((option) => html`<option key=${option} value=${option}></option>`)}</datalist>`}
    ${wrong[name] && html`<p class="form__problem" id=${`${id}-problem`}>${wrong[name]}</p>`}</div>`;
}
