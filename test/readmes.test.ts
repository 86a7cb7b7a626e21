import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { TObject } from '@sinclair/typebox';
import type { Command } from 'commander';
import { describe, it } from 'mocha';
import { leavesOf } from '../schemas/config/leaf.ts';
import { loadConfig } from '../schemas/config/load.ts';
import { checkServerConfig, ServerConfigSchema } from '../server/config.ts';
import { createProgram } from '../worker/cli/program.ts';
import { checkWorkerConfig, WorkerConfigSchema } from '../worker/config.ts';

/** What the READMEs name is there: links, files, settings, flags, commands; what they give as configuration is taken. */

const ROOT = resolve(import.meta.dirname, '..');
const isOurs = (path: string) => !/^(?:node_modules|\.cache|\.git)(?:\/|$)/.test(path);
const PATHS = globSync('**/*', { cwd: ROOT, exclude: (path) => !isOurs(String(path)) }).filter(isOurs);
const DOCUMENTS = PATHS.filter((path) => path.endsWith('.md')).sort();

interface Document {
  readonly path: string;
  readonly text: string;
  /** What stands between back-ticks in a line of text. */
  readonly words: readonly string[];
  /** Fenced blocks and indented ones. */
  readonly blocks: readonly { readonly language: string; readonly text: string }[];
}

function readDocument(path: string): Document {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const blocks: { language: string; text: string }[] = [];
  const prose = text
    .replaceAll(/^( *)```(\w*)\n(.*?)^\1```$/gms, (_, _indent, language: string, body: string) => {
      blocks.push({ language, text: body });
      return '';
    })
    .replaceAll(/(?:^(?: {4}| {7,}).*\n)+/gm, (body) => {
      blocks.push({ language: '', text: body });
      return '';
    });
  const words = [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');
  return { path, text, words, blocks };
}

const documents = DOCUMENTS.map(readDocument);
const code = ({ words, blocks }: Document) => [...words, ...blocks.map(({ text }) => text)];

/** Titles as links name them. */
function anchors(path: string): string[] {
  const titles = readFileSync(join(ROOT, path), 'utf8').matchAll(/^#+ (.+)$/gm);
  return [...titles].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function brokenLinks({ path, text }: Document): string[] {
  const links = [...text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map((match) => match[1] ?? '');
  return links.filter((link) => {
    const [file = '', anchor] = link.split('#');
    const target = file === '' ? path : join(dirname(path), file);
    return !existsSync(join(ROOT, target)) || (anchor !== undefined && !anchors(target).includes(anchor));
  });
}

/** Names of source files that are neither below the document's folder nor where their path says. */
function missingFiles(document: Document): string[] {
  const folder = dirname(document.path);
  const below = PATHS.filter((path) => folder === '.' || path.startsWith(`${folder}/`));
  const names = document.words.filter((word) => /^[\w./-]+\.(?:ts|sql|proto|sh|mjs|tsv|inc)$/.test(word));
  return names.filter(
    (name) =>
      !/NNNN/.test(name) &&
      !existsSync(join(ROOT, folder, name)) &&
      !existsSync(join(ROOT, name)) &&
      !below.some((path) => path.endsWith(`/${name}`) || basename(path) === name),
  );
}

const SCHEMAS: readonly TObject[] = [ServerConfigSchema, WorkerConfigSchema];
const KEYS = SCHEMAS.flatMap((schema) => leavesOf(schema, '').map(({ key }) => key));
const GROUPS = new Set(KEYS.filter((key) => key.includes('.')).map((key) => key.split('.')[0] ?? ''));

/** Settings, as `mirror.maxBytes` or `filesystem.completeForm: off`, that neither program has. */
function unknownSettings({ words }: Document): string[] {
  const named = words.map((word) => /^([a-z]+)\.([a-zA-Z]+|\*)(?:: \S+)?$/.exec(word));
  return named.flatMap((match) => {
    const [word = '', group = '', name = ''] = match ?? [];
    if (!GROUPS.has(group) || /\.(?:ts|md|db|sock|json)$/.test(word)) return [];
    return name === '*' || KEYS.includes(`${group}.${name}`) ? [] : [word];
  });
}

function optionsOf(command: Command): string[] {
  const own = command.options.flatMap(({ long }) => (long === undefined || long === null ? [] : [long]));
  return [...own, ...command.commands.flatMap(optionsOf)];
}
function noTerminal(): never {
  throw new Error('nothing is run');
}
const CONFIG_FLAGS = SCHEMAS.flatMap((schema) => leavesOf(schema, '').map(({ flag }) => `--${flag}`));
const CLI_FLAGS = optionsOf(createProgram(noTerminal, new AbortController().signal));
const FLAGS = new Set(['--help', '--version', '--config', ...CONFIG_FLAGS, ...CLI_FLAGS]);

/** Flags of our programs that they do not know. */
function unknownFlags(document: Document): string[] {
  const commands = code(document).flatMap((text) =>
    [
      ...text
        .replaceAll('\\\n', ' ')
        .matchAll(/\b(?:starlight-proxy|starlight-daemon|ctr-starlight) [^\n|;&#]*/g),
    ].map((match) => match[0]),
  );
  const alone = document.words.filter(
    (word) => /^--[a-z-]+/.test(word) && /^(?:server|worker|README)/.test(document.path),
  );
  const flags = [...commands, ...alone].flatMap((text) => text.match(/(?<=^|\s)--[a-z][a-z-]*/g) ?? []);
  return flags.filter((flag) => !FLAGS.has(flag));
}

const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly scripts: Readonly<Record<string, string>>;
};
const targets = [...readFileSync(join(ROOT, 'Makefile'), 'utf8').matchAll(/^([a-z]+):/gm)].map(
  (match) => match[1],
);

function unknownCommands(document: Document): string[] {
  return code(document)
    .flatMap((text) => [
      ...[...text.matchAll(/\bnpm run (?:-s )?([\w:-]+)/g)].filter(
        (match) => !Object.hasOwn(scripts, match[1] ?? ''),
      ),
      ...[...text.matchAll(/(?:^|[\s(])make ([a-z]+)/g)].filter((match) => !targets.includes(match[1])),
      ...[...text.matchAll(/(?<![\w./-])((?:bin|scripts|bench|test)\/[\w./-]*\w)(?![\w/…-])/g)].filter(
        (match) =>
          !existsSync(join(ROOT, match[1] ?? '')) &&
          !existsSync(join(ROOT, dirname(document.path), match[1] ?? '')),
      ),
    ])
    .map((match) => match[0]);
}

/** What a program finds wrong with a configuration. */
function faultsOf(text: string): readonly string[] {
  const request = { name: '', argv: ['--config', 'x'], env: {}, readFile: () => text };
  const [server, worker] = [
    loadConfig({ ...request, envPrefix: 'P', schema: ServerConfigSchema, check: checkServerConfig }),
    loadConfig({ ...request, envPrefix: 'D', schema: WorkerConfigSchema, check: checkWorkerConfig }),
  ];
  return server.kind === 'faults' && worker.kind === 'faults' ? server.faults : [];
}

describe('READMEs', () => {
  for (const { name } of readdirSync(ROOT, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    if (isOurs(name) && !/^(?:\.|starlight-)/.test(name)) {
      it(`there is one in ${name}/`, () => assert.ok(existsSync(join(ROOT, name, 'README.md'))));
    }
  }

  for (const document of documents) {
    describe(document.path, () => {
      it('links to what is there', () => assert.deepEqual(brokenLinks(document), []));
      it('names files that are there', () => assert.deepEqual(missingFiles(document), []));
      it('names settings that there are', () => assert.deepEqual(unknownSettings(document), []));
      it('names flags that there are', () => assert.deepEqual(unknownFlags(document), []));
      it('names commands that there are', () => assert.deepEqual(unknownCommands(document), []));
      for (const { text } of document.blocks.filter(({ language }) => language === 'yaml')) {
        it(`gives a configuration that is taken: ${text.split('\n')[0]}`, () =>
          assert.deepEqual(faultsOf(text), []));
      }
    });
  }
});
