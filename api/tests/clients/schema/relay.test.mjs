// relay-compiler: the example operations, each as the module that a Relay application would have, and the modules of
// api/examples/relay with Relay's own directives.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { Kind, parse, print, visit } from 'graphql';
import relay from 'relay-compiler';
import { exampleFiles, inTemporaryDirectory, read, relayFolder, schemaFile } from './files.mjs';

const config = {
  src: 'src',
  schema: 'schema.graphql',
  language: 'typescript',
  eagerEsModules: true,
  // A scalar without a type here is an error, and not `any`.
  customScalarTypes: { ByteSize: 'number', Credits: 'string', DateTime: 'string' },
  requireCustomScalarTypes: true,
};

/** The name of the module whose operations begin with it: `PullImage` for pull_image.graphql. */
const moduleName = (file) =>
  basename(file, '.graphql')
    .split('_')
    .map((word) => word[0].toUpperCase() + word.slice(1))
    .join('');

/** Compiles modules, by their names; returns the names of what it made. */
async function compile(modules) {
  return inTemporaryDirectory(async (directory) => {
    const source = join(directory, config.src);
    await mkdir(source);
    await cp(schemaFile, join(directory, config.schema));
    await writeFile(join(directory, 'relay.config.json'), JSON.stringify(config));
    for (const [name, text] of Object.entries(modules)) await writeFile(join(source, name), text);
    const output = await new Promise((resolve, reject) => {
      execFile(relay, ['relay.config.json'], { cwd: directory }, (error, stdout, stderr) => {
        if (error) reject(new Error(`${stdout}${stderr}`));
        else resolve(stdout);
      });
    });
    const made = await readdir(join(source, '__generated__')).catch(() => assert.fail(output));
    return made.map((name) => basename(name, '.graphql.ts')).sort();
  });
}

/**
 * A document without the defaults of variables that cannot be null: they are the examples' values, the specification allows them, and
 * relay-compiler does not.
 */
const withoutValues = (document) =>
  visit(document, {
    VariableDefinition: (variable) =>
      variable.type.kind === Kind.NON_NULL_TYPE ? { ...variable, defaultValue: undefined } : undefined,
  });

/** A module with a document in it. Comments are left out: a backquote in one would end the template. */
const tagged = (document) =>
  `import { graphql } from 'relay-runtime';\n\nexport const document = graphql\`\n${print(withoutValues(parse(document)))}\n\`;\n`;

/** The names of the operations and fragments of a document. */
const names = (document) => parse(document).definitions.map(({ name }) => name.value);

test('relay-compiler compiles every example', async () => {
  const modules = Object.fromEntries(exampleFiles.map((file) => [`${moduleName(file)}.ts`, tagged(read(file))]));
  assert.equal(Object.keys(modules).length, exampleFiles.length, 'no two examples have the same name');
  const expected = exampleFiles.flatMap((file) => names(read(file)));
  assert.deepEqual(await compile(modules), expected.sort());
});

test('relay-compiler compiles the modules of a Relay application', async () => {
  const files = (await readdir(relayFolder)).filter((name) => name.endsWith('.ts'));
  const modules = Object.fromEntries(files.map((name) => [name, read(join(relayFolder, name))]));
  const documents = Object.values(modules).flatMap((text) => [...text.matchAll(/graphql`([^`]*)`/g)].map(([, document]) => document));
  const made = await compile(modules);
  assert.notEqual(documents.length, 0);
  for (const name of documents.flatMap(names)) assert.ok(made.includes(name), `${name} is compiled`);
});

test('relay-compiler refuses what the schema does not have', async () => {
  await assert.rejects(compile({ 'Wrong.ts': tagged('query WrongQuery { balance { nothing } }') }), /nothing/);
});
