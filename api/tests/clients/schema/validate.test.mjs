// graphql-inspector's `validate`: the operations against the schema.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { validate } from '@graphql-inspector/core';
import { Source, buildSchema } from 'graphql';
import { clientFiles, exampleFiles, read, schemaFile } from './files.mjs';

const schema = buildSchema(read(schemaFile));

/** What is wrong with operations, by the names of their files. */
function invalid(sources) {
  const found = validate(schema, sources, { strictDeprecated: true, strictFragments: true });
  return found.map(({ source, errors, deprecated }) => [source.name, [...errors, ...deprecated].map(String)]);
}

test('the examples are valid, and each name is there once', () => {
  assert.notEqual(exampleFiles.length, 0);
  assert.deepEqual(invalid(exampleFiles.map((file) => new Source(read(file), file))), []);
});

test('the operations of the terminal client are valid, each with the fragments of its own file', () => {
  assert.notEqual(clientFiles.length, 0);
  for (const file of clientFiles) assert.deepEqual(invalid([new Source(read(file), file)]), []);
});

test('an operation that is not valid is found', () => {
  const sources = [new Source('query FineQuery { balance { total } }', 'fine'), new Source('query WrongQuery { balance { nothing } }', 'wrong')];
  assert.deepEqual(
    invalid(sources).map(([name]) => name),
    ['wrong'],
  );
});
