// What the checks of this folder look at.
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const api = fileURLToPath(new URL('../../../', import.meta.url));

/** The schema as the code makes it. */
export const schemaFile = join(api, 'schema.graphql');
/** The schema of the last release. */
export const releasedFile = join(api, 'schema.released.graphql');
/** Breaking changes since then that were decided on, with reasons. */
export const breakingFile = join(api, 'schema.breaking.json');
/** Modules as a Relay application has them: compiled here, and not run. */
export const relayFolder = join(api, 'examples/relay');

const operations = (folder) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.graphql'))
    .sort()
    .map((name) => join(folder, name));

/** The example operations, each of which `api/tests/end_to_end/examples` runs. */
export const exampleFiles = operations(join(api, 'examples'));
/** The operations of the terminal's client. */
export const clientFiles = operations(join(api, 'src/client/documents'));

export const read = (file) => readFileSync(file, 'utf8');

/** Calls `use` with a directory that is gone afterwards. */
export async function inTemporaryDirectory(use) {
  const directory = await mkdtemp(join(tmpdir(), 'wharfinger-schema-'));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
