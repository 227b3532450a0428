// @graphql-eslint with eslint.config.mjs: the schema, and schemas with mistakes that it has to find.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import { buildSchema, isNonNullType, isObjectType } from 'graphql';
import { exampleFiles, read, schemaFile } from './files.mjs';

const config = fileURLToPath(new URL('eslint.config.mjs', import.meta.url));
const eslint = new ESLint({ cwd: '/', overrideConfigFile: config });

/** The complaints about some text as that of a file: rule, line and message. */
async function complaints(text, filePath) {
  const [result] = await eslint.lintText(text, { filePath });
  assert.notEqual(result, undefined, `${filePath} is looked at`);
  return result.messages.map(({ ruleId, line, message }) => `${ruleId} in line ${line}: ${message}`);
}

test('the schema keeps the rules of Relay and the recommended ones', async () => {
  assert.deepEqual(await complaints(read(schemaFile), schemaFile), []);
});

test('what may be null says when', () => {
  const types = Object.values(buildSchema(read(schemaFile)).getTypeMap()).filter((type) => isObjectType(type) && !type.name.startsWith('__'));
  const fields = types.flatMap((type) => Object.values(type.getFields()).map((field) => ({ type, field })));
  assert.notEqual(fields.length, 0);
  const silent = fields.filter(({ field }) => !isNonNullType(field.type) && !/null/i.test(field.description));
  assert.deepEqual(
    silent.map(({ type, field }) => `${type.name}.${field.name}`),
    [],
  );
});

const mistakes = {
  'relay-arguments': ['images(\n\t\t"""\n\t\tOnly what comes after this cursor.\n\t\t"""\n\t\tafter: String,', 'images('],
  'relay-connection-types': ['edges: [ImageEdge!]!', 'edges: ImageEdge!'],
  'relay-edge-types': ['node: Image!', 'node: Balance!'],
  'relay-page-info': ['hasNextPage: Boolean!', 'hasNextPage: Boolean'],
  'require-description': ['"""\n\tA worker has it.\n\t"""\n\tRUNNING', 'RUNNING'],
  'strict-id-in-types': ['type Balance {', 'type Riches {'],
};
for (const [rule, [right, wrong]] of Object.entries(mistakes)) {
  test(`${rule} finds what breaks it`, async () => {
    const text = read(schemaFile);
    assert.ok(text.includes(right), `the schema has ${right}`);
    const found = await complaints(text.replaceAll(right, wrong), schemaFile);
    assert.ok(
      found.some((complaint) => complaint.startsWith(`@graphql-eslint/${rule} `)),
      found.join('\n'),
    );
  });
}

test('the examples keep the rules for operations', async () => {
  for (const file of exampleFiles) assert.deepEqual(await complaints(read(file), file), [], file);
});

test('an example that leaves out an id is found', async () => {
  const found = await complaints('query NamelessHostsQuery { hosts { nodes { name } } }', exampleFiles[0]);
  assert.equal(found.length, 1, found.join('\n'));
  assert.match(found[0], /require-selections/);
});
