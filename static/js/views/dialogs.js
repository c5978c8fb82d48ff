// The frame of all dialogs: the browser's own <dialog>, which keeps the focus inside and gives it back.
import { html, useEffect, useLayoutEffect, useRef, useState } from '../html.js';
import { notify } from '../actions.js';
import { dialog, question } from '../ui.js';
import { Budgets } from './budgets.js';
import { Icon } from './icons.js';
import { Help } from './help.js';
import { NewMission } from './new-mission.js';
import { Palette } from './palette.js';
import { Why } from './why.js';

export function Dialogs() {
  if (dialog.value === 'new') return html`<${NewMission} />`;
  if (dialog.value === 'palette') return html`<${Palette} />`;
  if (dialog.value === 'help') return html`<${Help} />`;
  if (dialog.value === 'budgets') return html`<${Budgets} />`;
  if (dialog.value === 'alerts') return html`<${Alerts} />`;
  if (dialog.value === 'why') return html`<${Why} />`;
  return dialog.value === 'confirm' && question.value ? html`<${Confirm} />` : null;
}

/** Loaded when it is wanted: most visits never open it. */
function Alerts() {
  const [loaded, setLoaded] = useState(/** @type {{View: any} | null} */ (null));
  useEffect(() => {
    import('./alerts.js').then(({ Alerts: View }) => setLoaded({ View }), () => {
      closeDialog();
      notify({ tone: 'error', text: 'Alerts cannot be shown while the server cannot be reached.' });
    });
  }, []);
  return loaded && html`<${loaded.View} />`;
}

export const closeDialog = () => {
  dialog.value = '';
};

/** @param {{title: string, kind?: string, hideTitle?: boolean, children?: any}} props */
export function Dialog({ title, kind = '', hideTitle = false, children }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  // At once, and not after the next frame: what is typed meanwhile would be lost.
  useLayoutEffect(() => {
    const shown = /** @type {HTMLDialogElement} */ (element.current);
    const before = document.activeElement;
    shown.showModal();
    /** @type {HTMLElement | null} */ (shown.querySelector('[data-first]'))?.focus();
    return () => {
      shown.close(); // while it is open nothing else can have the focus
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  // Escape closes at once: the browser's own `close` event comes a task later, when the next key may have opened another dialog.
  return html`<dialog class="dialog" data-kind=${kind} ref=${element} aria-label=${title}
    onCancel=${(/** @type {Event} */ event) => { event.preventDefault(); closeDialog(); }} onClose=${() => element.current && closeDialog()}
    onClick=${(/** @type {MouseEvent} */ event) => event.target === element.current && element.current?.close()}>
    <div class="dialog__inside">
      ${!hideTitle && html`<header class="dialog__head"><h2>${title}</h2>
        <button type="button" class="button button--icon" onClick=${closeDialog}><${Icon} name="close" /><span class="visually-hidden">Close</span></button></header>`}
      ${children}
    </div></dialog>`;
}

function Confirm() {
  const { title, text, yes, run } = /** @type {NonNullable<typeof question.value>} */ (question.value);
  return html`<${Dialog} title=${title}><p>${text}</p>
    <footer class="dialog__foot"><button type="button" class="button" data-first onClick=${closeDialog}>Keep them</button>
    <button type="button" class="button" data-tone="danger-filled" onClick=${() => { closeDialog(); run(); }}>${yes}</button></footer></${Dialog}>`;
}
