// graphql-inspector's `diff`: what of the schema broke since the last release. By hand, in this folder: node breaking.mjs
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';
import { breakingFile, read, releasedFile, schemaFile } from './files.mjs';

/** The changes from one schema to another, each with its type, path, message and level. */
export async function changes(from, to) {
  const found = await diff(buildSchema(from), buildSchema(to));
  return found.map(({ type, path, message, criticality }) => ({ type, path, message, level: criticality.level }));
}

/**
 * What is wrong: breaking changes that are not among the accepted ones, and accepted ones that are not there or have no reason.
 * An accepted change has the `type` and `path` of the change and a `reason` for those who call the API.
 */
export function problems(found, accepted) {
  const is = (one) => (other) => one.type === other.type && one.path === other.path;
  const breaking = found.filter(({ level }) => level === CriticalityLevel.Breaking);
  return [
    ...breaking
      .filter((change) => !accepted.some(is(change)))
      .map(({ type, path, message }) => `breaks clients: ${message} (type ${type}, path ${path})`),
    ...accepted.filter((entry) => !breaking.some(is(entry))).map(({ type, path }) => `accepted, but not there: ${type} ${path}`),
    ...accepted.filter(({ reason }) => !reason?.trim()).map(({ type, path }) => `accepted without a reason: ${type} ${path}`),
  ];
}

export const accepted = () => JSON.parse(read(breakingFile));

if (import.meta.url === pathToFileURL(argv[1]).href) {
  const found = await changes(read(releasedFile), read(schemaFile));
  for (const { level, message } of found) console.log(`${level.toLowerCase().padEnd(12)} ${message}`);
  const wrong = problems(found, accepted());
  for (const problem of wrong) console.error(problem);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
