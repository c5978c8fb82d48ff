// Copying text, also where the page is served without TLS and browsers have no clipboard API.

/** Resolves to whether it was copied. @param {string} text */
export async function copyText(text) {
  if (!navigator.clipboard) return copyByHand(text);
  return navigator.clipboard.writeText(text).then(() => true, () => copyByHand(text));
}

/** @param {string} text */
function copyByHand(text) {
  const field = document.createElement('textarea');
  const before = document.activeElement;
  field.value = text;
  field.className = 'visually-hidden';
  (document.querySelector('dialog[open]') ?? document.body).append(field);
  field.select();
  const copied = document.execCommand('copy');
  field.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  return copied;
}
