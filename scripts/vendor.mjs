// Copies the libraries the page uses from node_modules to static/vendor, and writes what they are to manifest.json.
//
// The page has no build step and no import map (its Content-Security-Policy allows no inline script), so bare import
// names are rewritten to the files beside them. `make vendor` runs this after `npm ci`.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TARGET = join(ROOT, 'static', 'vendor');

/** What is taken from each package: `[file in the package, name here]`. `types` is what the checker reads instead. */
const LIBRARIES = [
  { name: 'preact', files: [['dist/preact.mjs', 'preact.js'], ['hooks/dist/hooks.mjs', 'preact-hooks.js']],
    types: { 'preact.d.ts': "export * from 'preact';\n", 'preact-hooks.d.ts': "export * from 'preact/hooks';\n" } },
  { name: '@preact/signals-core', files: [['dist/signals-core.mjs', 'signals-core.js']],
    types: { 'signals-core.d.ts': "export * from '@preact/signals-core';\n" } },
  { name: '@preact/signals', files: [['dist/signals.mjs', 'signals.js']],
    types: { 'signals.d.ts': "export * from '@preact/signals';\n" } },
  { name: 'htm', files: [['dist/htm.mjs', 'htm.js']],
    types: { 'htm.d.ts': "export { default } from 'htm';\n" } },
  { name: 'socket.io-client', files: [['dist/socket.io.esm.min.js', 'socket.io.js']],
    types: { 'socket.io.d.ts': "export * from 'socket.io-client';\n" } },
  // The package's ES module is not minified; its script is, and becomes a module by exporting the one name it makes.
  { name: 'uplot', files: [['dist/uPlot.iife.min.js', 'uplot.js'], ['dist/uPlot.min.css', 'uplot.css']],
    suffix: { 'uplot.js': '\nexport default uPlot;\n' },
    types: { 'uplot.d.ts': "export { default } from 'uplot';\n" } },
  { name: '@fontsource-variable/inter', files: [['files/inter-latin-wght-normal.woff2', 'inter-latin.woff2']] },
  { name: '@fontsource-variable/jetbrains-mono',
    files: [['files/jetbrains-mono-latin-wght-normal.woff2', 'jetbrains-mono-latin.woff2']] },
];

const IMPORTS = {
  preact: './preact.js',
  'preact/hooks': './preact-hooks.js',
  '@preact/signals-core': './signals-core.js',
};

rmSync(TARGET, { recursive: true, force: true });
mkdirSync(join(TARGET, 'licences'), { recursive: true });
const manifest = LIBRARIES.map(vendor);
writeFileSync(join(TARGET, 'manifest.json'), JSON.stringify(manifest, null, 2) + '\n');
console.log(`${manifest.length} libraries in static/vendor`);

function vendor({ name, files, types = {}, suffix = {} }) {
  const from = join(ROOT, 'node_modules', name);
  const { version, license } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
  const licence = `licences/${name.replace('@', '').replace('/', '-')}.txt`;
  writeFileSync(join(TARGET, licence), readFileSync(join(from, 'LICENSE')));
  for (const [file, text] of Object.entries(types)) writeFileSync(join(TARGET, file), text);
  const written = files.map(([source, file]) => {
    const content = prepare(readFileSync(join(from, source)), file, suffix[file] ?? '');
    writeFileSync(join(TARGET, file), content);
    return { file, source, sha256: createHash('sha256').update(content).digest('hex') };
  });
  return { name, version, licence: license, licence_file: licence, files: written };
}

function prepare(content, file, suffix) {
  if (!file.endsWith('.js')) return content;
  const text = content
    .toString('utf8')
    .replace(/\/\/# sourceMappingURL=.*\s*$/, '')
    .replace(/\b(from|import)\s*(["'])([^"'./][^"']*)\2/g, (whole, word, quote, specifier) => {
      const here = IMPORTS[specifier];
      if (!here) throw new Error(`${file} imports ${specifier}, which is not vendored`);
      return `${word}${quote}${here}${quote}`;
    });
  return Buffer.from(text.trimEnd() + '\n' + suffix);
}
