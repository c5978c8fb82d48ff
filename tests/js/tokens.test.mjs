import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const SHEET = readFileSync(new URL('../../static/css/tokens.css', import.meta.url), 'utf8');
const THEMES = { dark: /:root \{(.*?)\n\}/s, light: /:root\[data-theme="light"\] \{(.*?)\n\}/s, 'light by the system': /:root\[data-theme="system"\] \{(.*?)\n {2}\}/s };
const TEXTS = ['text', 'muted', 'running', 'completed', 'failed', 'pending', 'cancelled', 'stalled', 'over_budget', 'paused', 'question', 'critical', 'high'];
const GROUNDS = ['canvas', 'surface', 'raised'];

function colours(theme) {
  const block = SHEET.match(THEMES[theme])[1];
  return Object.fromEntries([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value]));
}

function luminance(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

for (const theme of Object.keys(THEMES)) {
  test(`every text can be read on every ground, ${theme}`, () => {
    const known = colours(theme);
    const pairs = [
      ...TEXTS.flatMap((text) => GROUNDS.map((ground) => [text, ground])), ['faint', 'canvas'], ['faint', 'surface'], ['faint', 'raised'],
      ['text', 'hover'], ['muted', 'hover'], ['accent-ink', 'accent'], ['danger-ink', 'danger'], ['question-ink', 'question'], ['critical', 'critical-ground'], ['high', 'high-ground'], ['accent', 'surface'],
    ];
    const whole = theme === 'dark' ? known : { ...colours('dark'), ...known };

    const poor = pairs.filter(([text, ground]) => contrast(whole[text], whole[ground]) < 4.5).map(([text, ground]) => `${text} on ${ground}: ${contrast(whole[text], whole[ground]).toFixed(2)}`);

    assert.deepEqual(poor, []);
  });

  test(`controls and focus can be seen on every ground, ${theme}`, () => {
    const known = { ...colours('dark'), ...colours(theme) };

    const poor = ['control', 'focus'].flatMap((mark) => [...GROUNDS, 'hover'].filter((ground) => contrast(known[mark], known[ground]) < 3).map((ground) => `${mark} on ${ground}`));

    assert.deepEqual(poor, []);
  });
}

test('the system theme by night is the dark one, by day the light one', () => {
  assert.deepEqual(colours('light by the system'), colours('light'));
});
