// The schema breaks no client of the last release, except where that was decided and written down; and the check would tell.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accepted, changes, problems } from './breaking.mjs';
import { read, releasedFile, schemaFile } from './files.mjs';

test('nothing breaks that is not written down', async () => {
  assert.deepEqual(problems(await changes(read(releasedFile), read(schemaFile)), accepted()), []);
});

const description = /\t"""\n(?:\t(?!""").*\n)+\t"""\n/.source;
const without = (pattern) => new RegExp(description + pattern);
const breaks = {
  'a field is removed': ['FIELD_REMOVED', 'Image.digest', without('\tdigest: String\n'), ''],
  'an enum value is removed': ['ENUM_VALUE_REMOVED', 'JobState.DEAD', without('\tDEAD\n'), ''],
  'a field may be null now': ['FIELD_TYPE_CHANGED', 'Image.size', /\tsize: ByteSize!/, '\tsize: ByteSize'],
  'a field has another type': ['FIELD_TYPE_CHANGED', 'Image.size', /\tsize: ByteSize!/, '\tsize: Int!'],
  'an argument is required': ['FIELD_ARGUMENT_TYPE_CHANGED', 'Query.images.orderBy', /orderBy: ImageOrder\n/, 'orderBy: ImageOrder!\n'],
  'an input field is new and required': ['INPUT_FIELD_ADDED', 'CancelJobInput.why', /\tjobId: ID!\n}/, '\tjobId: ID!\n\twhy: String!\n}'],
  'a type is no Node any more': ['OBJECT_TYPE_INTERFACE_REMOVED', 'Image', /type Image implements Node/, 'type Image'],
};
for (const [what, [type, path, pattern, replacement]] of Object.entries(breaks)) {
  test(`it breaks when ${what}`, async () => {
    const released = read(releasedFile);
    const changed = released.replace(pattern, replacement);
    assert.notEqual(changed, released);
    const found = await changes(released, changed);
    const wrong = problems(found, []);
    assert.equal(wrong.length, 1, wrong.join('\n'));
    assert.ok(wrong[0].endsWith(`(type ${type}, path ${path})`), wrong[0]);
    assert.deepEqual(problems(found, [{ type, path, reason: 'Nobody uses it.' }]), []);
    assert.equal(problems(found, [{ type, path, reason: ' ' }]).length, 1);
  });
}

test('what was accepted and is not there is found', () => {
  assert.equal(problems([], [{ type: 'FIELD_REMOVED', path: 'Image.digest', reason: 'Nobody uses it.' }]).length, 1);
});

test('more is welcome', async () => {
  const released = read(releasedFile);
  const grown = released
    .replace('type HostLabel {', 'type HostLabel {\n\tcolour: String\n')
    .replace('enum JobKind {', 'enum JobKind {\n\tTAG_IMAGE\n')
    .replace('input ImageFilter {', 'input ImageFilter {\n\tminimumSize: ByteSize\n');
  const found = await changes(released, grown);
  assert.equal(found.length, 3);
  assert.deepEqual(problems(found, []), []);
});
