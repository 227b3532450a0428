// graphql-codegen: TypeScript types of the schema and of the example operations, and what the TypeScript compiler says of them.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { generate } from '@graphql-codegen/cli';
import { parse } from 'graphql';
import ts from 'typescript';
import { exampleFiles, inTemporaryDirectory, read, schemaFile } from './files.mjs';

/** Generates the types of operations and returns them. */
async function types(documents) {
  return inTemporaryDirectory(async (directory) => {
    const file = join(directory, 'types.ts');
    const [made] = await generate(
      {
        schema: schemaFile,
        documents,
        silent: true,
        generates: {
          [file]: {
            plugins: ['typescript', 'typescript-operations'],
            config: {
              // A scalar without a type here is an error, and not `any`.
              scalars: { ByteSize: 'number', Credits: 'string', DateTime: 'string' },
              strictScalars: true,
              // The names of the examples say already what they are.
              dedupeOperationSuffix: true,
            },
          },
        },
      },
      false,
    );
    return made.content;
  });
}

/** What the TypeScript compiler says of a file. */
function complaints(text) {
  const options = { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, types: [] };
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (name, ...more) =>
    name === 'types.ts' ? ts.createSourceFile(name, text, options.target, true) : getSourceFile.call(host, name, ...more);
  const program = ts.createProgram(['types.ts'], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

test('the types of every example compile', async () => {
  const made = await types(exampleFiles);
  for (const file of exampleFiles) {
    for (const { name } of parse(read(file)).definitions) assert.match(made, new RegExp(`export type ${name.value} =`), file);
  }
  assert.deepEqual(complaints(made), []);
  // What reads a field that was not asked for does not compile.
  const reads = (field) => `${made}\nexport const read = (data: BalanceQuery) => data.balance.${field};\n`;
  assert.deepEqual(complaints(reads('total')), []);
  assert.equal(complaints(reads('nothing')).length, 1);
});

test('graphql-codegen refuses what the schema does not have', async () => {
  await assert.rejects(types(['query WrongQuery { balance { nothing } }']), /nothing/);
});
