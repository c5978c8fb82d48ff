import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['node_modules/', '.venv*/', 'static/vendor/', 'docs/', 'data/'] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: true },
    rules: {
      eqeqeq: ['error', 'smart'],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-implied-eval': 'error',
      'no-restricted-properties': ['error', { property: 'innerHTML', message: 'Text reaches the page as text.' },
        { property: 'outerHTML', message: 'Text reaches the page as text.' },
        { property: 'insertAdjacentHTML', message: 'Text reaches the page as text.' },
        { property: 'dangerouslySetInnerHTML', message: 'Text reaches the page as text.' }],
    },
  },
  { files: ['static/js/**/*.js'], languageOptions: { globals: globals.browser } },
  {
    // The state is pure: no page, no network, no clock of its own.
    files: ['static/js/state.js', 'static/js/list.js', 'static/js/missions.js', 'static/js/url.js', 'static/js/format.js', 'static/js/lines.js'],
    rules: { 'no-restricted-globals': ['error', 'window', 'document', 'fetch', 'localStorage', 'navigator'] },
  },
  { files: ['tests/js/**', 'scripts/**/*.mjs'], languageOptions: { globals: { ...globals.node } } },
];
