// The whole page, from top to bottom.
import { Component, html, signal } from '../html.js';
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
  const open = route.value.mission !== '';
  // On a phone the drawer covers everything: what is under it is out of reach for keys and screen readers too.
  const covered = open && narrow.value;
  return html`<a class="skip-link" href="#missions">Skip to the missions</a>
    <${TopBar} covered=${covered} />
    <main class="page" data-drawer=${String(open)}>
      <${Guard} name="banner"><${ConnectionBanner} /></${Guard}>
      <div inert=${covered}>
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
      </div>
    </main>
    <${BulkBar} /><${Toasts} /><${Dialogs} /><${Announcer} />`;
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
