// A link printed at the start carries the key after '#', which browsers never send: take it from there and log in.
const field = /** @type {HTMLInputElement} */ (document.getElementById('key'));
const key = decodeURIComponent(location.hash.slice(1));
if (key) {
  // The key must not stay in the address bar or in the history.
  history.replaceState(null, '', location.pathname + location.search);
  field.value = key;
  // A link of somebody else must not make a person who is logged in go on as somebody else without a word.
  if (!('known' in (field.form?.dataset ?? {}))) field.form?.requestSubmit();
}
