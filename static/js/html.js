// The one place that joins preact, htm and signals; views import from here.
import htm from '../vendor/htm.js';
import { Component, Fragment, h, render } from '../vendor/preact.js';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { batch, computed, effect, signal } from '../vendor/signals.js';

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(/** @type {any} */ (h));
export { Component, Fragment, batch, computed, effect, render, signal, useEffect, useLayoutEffect, useMemo, useRef, useState };
