// Watches a pull over WebSocket, with npm graphql-ws: node watch_pull_ws.mjs JOB_ID
import { createClient } from 'graphql-ws';
import WebSocket from 'ws'; // not in browsers, nor from node 22 on: they have one

const { WHARFINGER_URL, WHARFINGER_TOKEN } = process.env;
const client = createClient({
  url: `${WHARFINGER_URL.replace('http', 'ws')}/graphql`,
  connectionParams: { authorization: `Bearer ${WHARFINGER_TOKEN}` },
  webSocketImpl: WebSocket,
});
const query = 'subscription ($jobId: ID!) { pullProgress(jobId: $jobId) { state phase downloaded total } }';

for await (const { data, errors } of client.iterate({ query, variables: { jobId: process.argv[2] } })) {
  if (errors) throw new Error(errors[0].message);
  console.log(data.pullProgress);
}
client.dispose();
