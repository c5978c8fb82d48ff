// What became of an order to an agent, step by step, with the times.
import { html } from '../html.js';
import { clock, exact } from '../format.js';
import { receiptSteps } from '../missions.js';
import { Icon } from './icons.js';

/** @type {Readonly<Record<string, string>>} */
const CAUSES = { budget: 'its budget', lost: 'the watch over silent missions' };

/** @param {{receipt: import('../missions.js').Receipt, control: string | null}} props */
export function ReceiptSteps({ receipt, control }) {
  const { action, cause, asked_by: by, reason, deadline, unconfirmed } = receipt;
  const waits = control === 'cancel_requested' && !unconfirmed && deadline !== null;
  const who = CAUSES[cause] ?? (by || 'somebody who gave no name');
  return html`<section class="receipt" aria-label=${action === 'pause' ? 'Pause' : 'Cancel'} data-unconfirmed=${String(unconfirmed)}>
    <h3 class="drawer__heading">${action === 'pause' ? 'Pause' : 'Cancel'}</h3>
    <ol class="receipt__steps">${receiptSteps(receipt).map(({ name, at, missing }, index) => html`<li key=${name} class="receipt__step" data-done=${String(at !== null)}>
      <${Icon} name=${at === null ? 'pending' : 'completed'} /><span class="receipt__name">${name}</span>
      <span class="receipt__said">${at === null ? missing : html`<time datetime=${new Date(at).toISOString()} title=${exact(at)}>${clock(at)}</time>`}
        ${index === 0 && html` by <bdi>${who}</bdi>${reason && html`: <bdi>${reason}</bdi>`}`}</span></li>`)}</ol>
    ${unconfirmed && html`<p class="receipt__warning"><${Icon} name="stalled" /><span>Unconfirmed: no acknowledgement${deadline !== null && html` by <time title=${exact(deadline)}>${clock(deadline)}</time>`}. The agent may still run and spend.</span></p>`}
    ${waits && html`<p class="receipt__note">The agent has until <time title=${exact(deadline)}>${clock(deadline)}</time> to acknowledge.</p>`}
  </section>`;
}
