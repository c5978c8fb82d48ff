// A button that opens a small panel; closes on Escape, outside, and when the focus leaves.
import { html, useEffect, useRef, useState } from '../html.js';
import { Icon } from './icons.js';

/**
 * @param {{label: any, kind?: 'chip' | 'icon', set?: boolean, align?: 'start' | 'end', children: ((close: () => void) => any) | any}} props
 */
export function Menu({ label, kind = 'chip', set = false, align = 'start', children }) {
  const [open, setOpen] = useState(false);
  const whole = useRef(/** @type {HTMLElement | null} */ (null));
  const close = () => setOpen(false);
  // What has the focus goes with the panel; a dialog that is opened now gives it back to the button.
  const leave = () => {
    whole.current?.querySelector('button')?.focus();
    close();
  };
  useEffect(() => {
    if (!open) return undefined;
    const panel = /** @type {HTMLElement} */ (whole.current?.querySelector('.menu__panel'));
    /** @type {HTMLElement | null} */ (panel.querySelector('input, button, a'))?.focus();
    /** @param {Event} event */
    const outside = (event) => {
      if (!whole.current?.contains(/** @type {Node} */ (event.target))) close();
    };
    /** @param {KeyboardEvent} event */
    const escape = (event) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      leave();
    };
    document.addEventListener('pointerdown', outside);
    whole.current?.addEventListener('keydown', escape);
    const element = whole.current;
    return () => {
      document.removeEventListener('pointerdown', outside);
      element?.removeEventListener('keydown', escape);
    };
  }, [open]);
  const children_ = Array.isArray(children) ? children.find((child) => typeof child === 'function') : children;
  return html`<div class="menu" ref=${whole} data-align=${align}>
    <button type="button" class=${kind === 'chip' ? 'chip' : 'button button--icon'} data-set=${String(set)} aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>
      ${label}${kind === 'chip' && html`<${Icon} name="chevron" />`}</button>
    ${open && html`<div class="menu__panel">${children_(leave)}</div>`}
  </div>`;
}
