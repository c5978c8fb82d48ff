// The page's few drawings. Each status has a shape of its own, so that it is told without colour.
import { html } from '../html.js';

/** @type {Readonly<Record<string, string>>} */
const PATHS = {
  running: 'M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8Z',
  pending: 'M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2Z',
  completed: 'm3 8.6 3.2 3.2L13 5',
  failed: 'm4 4 8 8M12 4l-8 8',
  cancelled: 'M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2ZM4.2 4.2l7.6 7.6',
  question: 'M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.8M8 12.6v.2',
  stalled: 'M8 3v6M8 12.4v.2',
  over_budget: 'M11 5.2C10.4 4.3 9.3 4 8 4c-1.7 0-3 .7-3 2 0 3 6 1.200 6 4 0 1.300-1.300 2-3 2-1.400 0-2.600-.4-3.200-1.400M8 2.300v11.400',
  search: 'M7 2.500a4.500 4.500 0 1 1 0 9 4.500 4.500 0 0 1 0-9Zm3.400 7.900 3.100 3.100',
  close: 'm4 4 8 8M12 4l-8 8',
  pause: 'M5.500 3.500v9M10.500 3.500v9',
  play: 'm5 3.200 7.600 4.800L5 12.800Z',
  menu: 'M3.500 8h.01M8 8h.01M12.500 8h.01',
  chevron: 'm4.500 6.500 3.500 3.500 3.500-3.500',
  copy: 'M5.500 5.500h7v7h-7zM3.500 10.500v-7h7',
  check: 'm3 8.600 3.200 3.200L13 5',
  up: 'M8 13V3.500M4 7.500 8 3.500l4 4',
  retry: 'M13 8a5 5 0 1 1-1.600-3.700M13 2.500v2.800h-2.800',
  alert: 'M8 2.200a4 4 0 0 1 4 4c0 3.300 1.300 4.300 1.300 4.300H2.700S4 9.500 4 6.200a4 4 0 0 1 4-4ZM6.700 12.800a1.400 1.400 0 0 0 2.600 0',
  key: 'M10.500 2.500a3 3 0 1 1-2.700 4.300L3 11.600v1.900h2.200v-1.600h1.600v-1.600l1.600-1.400',
  pulse: 'M1.500 8.500h3l2-5.500 3 10 2-4.500h3',
  plus: 'M8 3v10M3 8h10',
};

/** @param {{name: string}} props */
export function Icon({ name }) {
  return html`<svg class="icon" data-icon=${name} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
    ${name === 'running' && html`<path class="icon__fill" d="M8 3.800a4.200 4.200 0 0 1 0 8.400Z" />`}
  </svg>`;
}
