// Watches a pull over server-sent events, with npm graphql-sse: node watch_pull_sse.mjs JOB_ID
import { createClient } from 'graphql-sse';

const { WHARFINGER_URL, WHARFINGER_TOKEN } = process.env;
const client = createClient({
  url: `${WHARFINGER_URL}/graphql`,
  headers: { authorization: `Bearer ${WHARFINGER_TOKEN}` },
});
const query = 'subscription ($jobId: ID!) { pullProgress(jobId: $jobId) { state phase downloaded total } }';

for await (const { data, errors } of client.iterate({ query, variables: { jobId: process.argv[2] } })) {
  if (errors) throw new Error(errors[0].message);
  console.log(data.pullProgress);
}
client.dispose();
