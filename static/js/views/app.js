// The whole page, from top to bottom.
import { Component, html, signal, useEffect, useState } from '../html.js';
import { showWaiting } from '../actions.js';
import { plural } from '../format.js';
import { route, state } from '../store.js';
import { Announcer } from './announcer.js';
import { Attention } from './attention.js';
import { BulkBar } from './bulk.js';
import { Dialogs } from './dialogs.js';
import { Drawer } from './drawer.js';
import { FilterRow } from './filters.js';
import { Icon } from './icons.js';
import { ListState } from './empty.js';
import { MissionList } from './mission-list.js';
import { Throughput, Tiles } from './tiles.js';
import { Toasts } from './toasts.js';
import { ConnectionBanner, TopBar } from './top-bar.js';

const NARROW = matchMedia('(max-width: 640px)');
const narrow = signal(NARROW.matches);
NARROW.addEventListener('change', () => { narrow.value = NARROW.matches; });

export function App() {
  const { page, mission } = route.value;
  const open = mission !== '' && !page;
  // On a phone the drawer covers everything: what is under it is out of reach for keys and screen readers too.
  const covered = open && narrow.value;
  return html`<a class="skip-link" href=${page ? '#system' : '#missions'}>${page ? 'Skip to the numbers' : 'Skip to the missions'}</a>
    <${TopBar} covered=${covered} />
    <main class="page" data-drawer=${String(open)}>
      <${Guard} name="banner"><${ConnectionBanner} /></${Guard}>
      ${page ? html`<${Guard} name="system page"><${System} /></${Guard}>` : html`<${Missions} open=${open} covered=${covered} />`}
    </main>
    ${!page && html`<${BulkBar} />`}<${Toasts} /><${Dialogs} /><${Announcer} />`;
}

/** @param {{open: boolean, covered: boolean}} props */
function Missions({ open, covered }) {
  return html`<div inert=${covered}>
        <${Guard} name="attention strip"><${Attention} /></${Guard}>
        <${Guard} name="numbers"><${Tiles} /><${Throughput} /></${Guard}>
        <${FilterRow} />
      </div>
      <div class="page__columns">
        <section class="page__list" id="missions" tabindex="-1" aria-label="Missions" inert=${covered}>
          <h2 class="visually-hidden">Missions</h2>
          <${NewPill} />
          <${Guard} name="list"><${MissionList} /><${ListState} /></${Guard}>
        </section>
        ${open && html`<${Guard} name="mission"><${Drawer} /></${Guard}>`}
      </div>`;
}

/** Loaded when it is wanted: most visits never open it. */
function System() {
  const [loaded, setLoaded] = useState(/** @type {{View: any} | null} */ (null));
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    if (failed) return;
    import('./system.js').then(({ System: View }) => setLoaded({ View }), () => setFailed(true));
  }, [failed]);
  if (failed) {
    return html`<div class="notice" data-tone="error" role="alert"><p>The System page cannot be loaded while the server cannot be reached.</p>
      <button type="button" class="button button--small" onClick=${() => setFailed(false)}>Try again</button></div>`;
  }
  return loaded && html`<${loaded.View} />`;
}

function NewPill() {
  const { waiting } = state.value;
  return html`<div class="new-pill" aria-live="polite">${waiting > 0 && html`<button type="button" class="new-pill__button" onClick=${showWaiting}><${Icon} name="up" />${plural(waiting, 'new mission')}</button>`}</div>`;
}

/** Keeps a fault in one part from blanking the page: it says so in the part's place. */
class Guard extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { failed: false };
  }

  /** @param {unknown} error */
  componentDidCatch(error) {
    console.error(error);
    this.setState({ failed: true });
  }

  render() {
    const { name, children } = /** @type {any} */ (this.props);
    if (!(/** @type {any} */ (this.state).failed)) return children;
    return html`<div class="notice" data-tone="error" role="alert"><p>The ${name} cannot be shown: something arrived that this page does not understand.</p>
      <button type="button" class="button button--small" onClick=${() => this.setState({ failed: false })}>Try again</button></div>`;
  }
}
