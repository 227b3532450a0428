// npm graphql-ws: watches a pull from its middle to its end, and does other things on the same socket meanwhile.
// node graphql-ws.mjs ws://HOST/graphql TOKEN JOB: prints "watching" once the pull is seen to run, and ends with it.
import assert from 'node:assert/strict';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url, token, jobId] = process.argv.slice(2);
const query = 'subscription($jobId: ID!) { pullProgress(jobId: $jobId) { sequence state downloaded } }';
const progress = { query, variables: { jobId } };

let sockets = 0;
let ponged;
const pong = new Promise((resolve) => (ponged = resolve));
const connect = (authorization) =>
  createClient({
    url,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    keepAlive: 100,
    connectionParams: { authorization },
    on: { connected: () => (sockets += 1), pong: () => ponged() },
  });
const client = connect(`Bearer ${token}`);

// Every result of an operation, or what ended it.
const run = (payload, next = () => {}) =>
  new Promise((resolve, reject) => {
    const results = [];
    client.subscribe(payload, {
      next: (result) => next(results.push(result), result),
      error: reject,
      complete: () => resolve(results),
    });
  });

let first;
const begun = new Promise((resolve) => (first = resolve));
const watched = run(progress, (count) => count === 1 && first());
await begun;

// One that is given up leaves the other alone.
for await (const result of client.iterate(progress)) {
  assert.equal(result.data.pullProgress.state, 'RUNNING');
  break;
}
// Queries, mutations and mistakes on the same socket.
const [viewer] = await run({ query: '{ viewer { name } }' });
assert.equal(viewer.data.viewer.name, 'ada');
const [balance] = await run({ query: 'query A { balance { available } } query B { viewer { id } }', operationName: 'A' });
assert.ok(balance.data.balance.available);
await assert.rejects(run({ query: '{ nothing }' }), (errors) => errors[0].extensions.code === 'BAD_REQUEST');
await assert.rejects(run({ query: '{' }), (errors) => Array.isArray(errors));

await pong;

console.log('watching');
const events = (await watched).map((result) => result.data.pullProgress);
assert.equal(events.at(-1).state, 'SUCCEEDED');
assert.ok(events.every((event, at) => at === 0 || event.sequence > events[at - 1].sequence));
assert.equal(sockets, 1);
await client.dispose();

// Nobody gets in with a token that is good for nothing, and the client knows that coming back is no use.
const stranger = connect('Bearer whf_nothing');
const refused = new Promise((resolve, reject) => {
  stranger.subscribe({ query: '{ viewer { id } }' }, { next: reject, complete: reject, error: resolve });
});
assert.equal((await refused).code, 4403);
