// The channels that tell of alerts: a list with a test for each, a form for one, and what could not be delivered.
import { plural } from '../format.js';
import { html, useState } from '../html.js';
import { useAlerts } from './alerts.js';
import { Needs } from './bits.js';
import { Choice, Delete, Form, Text, useFormFocus } from './alert-rules.js';

const KINDS = [['webhook', 'Webhook (signed)'], ['slack', 'Slack or alike'], ['email', 'E-mail'], ['browser', 'Browser notifications']];
const BLANK = { id: '', name: '', kind: 'webhook', url: '', secret: '', host: '', port: '587', security: 'starttls', user: '', password: '', sender: '', recipients: '', enabled: true };
const SECRET_BYTES = 32;
/** As many as the server gives. */
const MOST_LETTERS = 200;

const newSecret = () => `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(SECRET_BYTES))))}`;

/** Only what was filled in. @param {Record<string, unknown>} values */
const filled = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));

/** @param {typeof BLANK} wish */
function toBody({ name, kind, enabled, url, secret, host, port, security, user, password, sender, recipients }) {
  /** @type {Record<string, unknown>} */
  const body = { name: name.trim(), kind, enabled };
  if (kind === 'webhook') body.webhook = filled({ url: url.trim(), secret });
  if (kind === 'slack') body.slack = filled({ url: url.trim() });
  if (kind === 'email') {
    const whom = recipients.split(',').map((part) => part.trim()).filter(Boolean);
    body.email = { ...filled({ host: host.trim(), user, password, sender: sender.trim(), security }), port: Number(port) || 0, recipients: whom };
  }
  return body;
}

/** @param {any} channel */
function toWish({ id, name, kind, enabled, settings }) {
  return { ...BLANK, ...settings, id, name, kind, enabled, port: String(settings.port ?? BLANK.port), recipients: (settings.recipients ?? []).join(', ') };
}

export function Channels() {
  const { answer, problem, settle, forget } = useAlerts('/channels');
  const dead = useAlerts(`/deliveries?state=dead&limit=${MOST_LETTERS}`);
  const [wish, setWish] = useState(/** @type {any} */ (null));
  const place = useFormFocus(Boolean(wish));
  const [tested, setTested] = useState(/** @type {Record<string, string>} */ ({}));
  const channels = answer?.channels ?? [];
  /** Begin with one, or end with none. @param {any} one */
  const edit = (one) => {
    forget();
    setWish(one);
  };
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    if (await settle(wish.id ? 'PUT' : 'POST', `/channels${wish.id && `/${wish.id}`}`, toBody(wish))) edit(null);
  };
  /** @param {string} id */
  const test = async (id) => {
    setTested({ ...tested, [id]: 'Sending…' });
    const said = await settle('POST', `/channels/${id}/test`);
    setTested({ ...tested, [id]: said?.detail ?? '' });
  };
  return html`<div hidden=${Boolean(wish)}>
    ${(problem || dead.problem) && !wish && html`<div class="notice" data-tone="error" role="alert">${problem || dead.problem}</div>`}
    ${answer && channels.length === 0 && html`<p>Nobody is told yet: alerts are shown here alone.</p>`}
    <ul class="alerts__list">${channels.map((/** @type {any} */ channel) => html`<li key=${channel.id} class="alert" data-state=${channel.enabled ? 'on' : 'resolved'}>
      <div class="alert__head"><b><bdi>${channel.name}</bdi></b><span>${channel.kind}${channel.enabled ? '' : ' · off'}</span></div>
      <p class="faint">to <bdi>${channel.goes_to}</bdi></p>
      <p role="status">${tested[channel.id] ?? ''}</p>
      <${Needs} scope="admin"><div class="alert__acts"><button type="button" class="button button--small" onClick=${() => test(channel.id)}>Send a test<span class="visually-hidden"> over ${channel.name}</span></button>
        <button type="button" class="button button--small" onClick=${() => edit(toWish(channel))}>Change<span class="visually-hidden"> ${channel.name}</span></button>
        <${Delete} name=${channel.name} run=${() => settle('DELETE', `/channels/${channel.id}`)} /></div></${Needs}></li>`)}</ul>
    <${Needs} scope="admin"><div class="alert__acts"><button type="button" class="button" data-tone="primary" onClick=${() => edit({ ...BLANK, secret: newSecret() })}>New channel</button></div></${Needs}>
    ${dead.answer?.deliveries.length > 0 && html`<${Undelivered} letters=${dead.answer.deliveries} settle=${dead.settle} />`}</div>
    ${wish && html`<${Form} kind="channel" place=${place} wish=${wish} set=${setWish} problem=${problem} submit=${submit} back=${() => edit(null)}>
      <div class="form__pair"><${Text} wish=${wish} set=${setWish} name="name" label="Name" />
        <${Choice} wish=${wish} set=${setWish} name="kind" label="Kind" options=${KINDS} fixed=${wish.id !== ''} /></div>
      ${(wish.kind === 'webhook' || wish.kind === 'slack') && html`<${Text} wish=${wish} set=${setWish} name="url" label="Address" hint=${wish.id && wish.kind === 'slack' ? 'stays as it is' : 'https://…'} />`}
      ${wish.kind === 'webhook' && html`<${Text} wish=${wish} set=${setWish} name="secret" label="Secret, shown only now" hint="stays as it is" />`}
      ${wish.kind === 'email' && html`<div class="form__pair">
        <${Text} wish=${wish} set=${setWish} name="host" label="Mail server" /><${Text} wish=${wish} set=${setWish} name="port" label="Port" />
        <${Choice} wish=${wish} set=${setWish} name="security" label="Encryption" options=${[['starttls', 'STARTTLS'], ['tls', 'TLS'], ['none', 'none']]} />
        <${Text} wish=${wish} set=${setWish} name="user" label="User" /><${Text} wish=${wish} set=${setWish} name="password" label="Password" type="password" hint=${wish.id ? 'stays as it is' : ''} />
        <${Text} wish=${wish} set=${setWish} name="sender" label="From" /><${Text} wish=${wish} set=${setWish} name="recipients" label="To" hint="several with commas" /></div>`}
    </${Form}>`}`;
}

/** What could not be delivered. @param {{letters: any[], settle: (method: 'POST', where: string) => unknown}} props */
function Undelivered({ letters, settle }) {
  return html`<h3 class="drawer__heading">Not delivered</h3>
    <ul class="alerts__list">${letters.map((letter) => html`<li key=${letter.id} class="alert" data-severity="critical">
      <p class="alert__text" dir="auto">${letter.summary}</p><p class="faint"><bdi>${letter.channel}</bdi>, ${plural(letter.attempts, 'try', 'tries')}. ${letter.last_error}</p>
      <${Needs} scope="operate"><div class="alert__acts"><button type="button" class="button button--small" onClick=${() => settle('POST', `/deliveries/${letter.id}/resend`)}>Send again</button></div></${Needs}></li>`)}</ul>
    ${letters.length === MOST_LETTERS && html`<p class="faint">These are the newest ${MOST_LETTERS}; there may be older ones.</p>`}`;
}
