// Runs one operation through npm graphql-sse in distinct connections mode, and prints each result as a line of JSON:
// node sse.mjs URL TOKEN QUERY VARIABLES [LAST_EVENT_ID]
// A stream that the server breaks off is opened again, where it was by the sequence of its last result.
import { createClient } from 'graphql-sse';

const [url, token, query, variables, lastEventId] = process.argv.slice(2);
let last = lastEventId;

const client = createClient({
  url,
  headers: () => ({
    authorization: `Bearer ${token}`,
    ...(last === undefined ? {} : { 'last-event-id': String(last) }),
  }),
  // At once: the tests have no time to spread a storm.
  retry: () => new Promise((resolve) => { setTimeout(resolve, 100); }),
  retryAttempts: 100,
  on: { connecting: (again) => console.error(again ? 'connecting again' : 'connecting') },
});

for await (const result of client.iterate({ query, variables: JSON.parse(variables) })) {
  last = result.data?.pullProgress?.sequence ?? last;
  console.log(JSON.stringify(result));
}
console.log('"complete"');
