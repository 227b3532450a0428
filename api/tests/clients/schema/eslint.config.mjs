// @graphql-eslint: what Relay asks of a schema, and what its own recommendation asks of a schema and of operations.
import plugin from '@graphql-eslint/eslint-plugin';
import { exampleFiles, schemaFile } from './files.mjs';

const { configs, parser } = plugin;

const schema = {
  ...configs['flat/schema-recommended'].rules,
  ...configs['flat/schema-relay'].rules,
  // Lists that are no pages (`layers`, `userErrors`, `queues`) and `nodes` beside `edges` are lists of plain things.
  '@graphql-eslint/relay-edge-types': [
    'error',
    { withEdgeSuffix: true, shouldImplementNode: true, listTypeCanWrapOnlyEdgeType: false },
  ],
  // What is part of something else has no identity of its own. Another such type is named here, or has an id.
  '@graphql-eslint/strict-id-in-types': [
    'error',
    {
      exceptions: {
        suffixes: ['Connection', 'Edge', 'Payload'],
        types: ['Balance', 'HostLabel', 'JobAttempt', 'JobError', 'LayerProgress', 'PageInfo', 'PullProgress', 'Queue', 'UserError'],
      },
    },
  ],
  // `Image.imageId` is the engine's id of it, by the name that the engine gives it.
  '@graphql-eslint/no-typename-prefix': 'off',
  // Everything but the arguments of `@include`, `@skip` and `@specifiedBy`, which are GraphQL's own.
  '@graphql-eslint/require-description': [
    'error',
    {
      types: true,
      FieldDefinition: true,
      InputValueDefinition: true,
      EnumValueDefinition: true,
      DirectiveDefinition: true,
      ignoredSelectors: ['DirectiveDefinition > InputValueDefinition'],
    },
  ],
  '@graphql-eslint/input-name': ['error', { checkInputType: true, caseSensitiveInputType: false }],
};

const operations = {
  ...configs['flat/operations-recommended'].rules,
  // Relay wants the names of operations to end in what they are; that a file has one with its own name is tested where they run.
  '@graphql-eslint/naming-convention': ['error', { VariableDefinition: 'camelCase', OperationDefinition: 'PascalCase' }],
};

export default [
  {
    files: ['**/*.graphql'],
    languageOptions: { parser, parserOptions: { graphQLConfig: { schema: schemaFile, documents: exampleFiles } } },
    plugins: { '@graphql-eslint': plugin },
  },
  { files: ['**/schema.graphql'], rules: schema },
  { files: ['**/examples/**/*.graphql'], rules: operations },
];
