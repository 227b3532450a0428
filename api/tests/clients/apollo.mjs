// Asks the same query twice through Apollo Client's link for persisted queries: node apollo.mjs URL POST|GET
// Prints a line for each request: how it was sent, whether with the document and its name, and what came back.
import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';

const [url, method] = process.argv.slice(2);

async function fetchAndTell(input, init) {
  const response = await fetch(input, init);
  const sent = init.method === 'GET'
    ? Object.fromEntries(new URL(input).searchParams)
    : JSON.parse(init.body);
  const { data } = await response.clone().json();
  console.log(JSON.stringify({
    method: init.method,
    document: Boolean(sent.query),
    named: JSON.stringify(sent.extensions ?? '').includes('persistedQuery'),
    status: response.status,
    data,
  }));
  return response;
}

const persisted = new PersistedQueryLink({
  sha256: (text) => createHash('sha256').update(text).digest('hex'),
  useGETForHashedQueries: method === 'GET',
});
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.from([persisted, new HttpLink({ uri: url, fetch: fetchAndTell })]),
});
// One of its own for each way, so that the server knows neither beforehand.
const query = gql(`query By${method}($n: String!) { hello(name: $n) }`);
for (let time = 0; time < 2; time += 1) {
  const { data } = await client.query({ query, variables: { n: 'wharf' }, fetchPolicy: 'network-only' });
  if (data.hello !== 'hello wharf') throw new Error(JSON.stringify(data));
}
client.stop();
