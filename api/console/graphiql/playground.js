// GraphiQL on this host's /graphql: queries and mutations by POST, subscriptions by graphql-transport-ws.
// The Authorization of the headers editor goes with both; on the socket in connection_init's payload.
'use strict';

const endpoint = new URL('/graphql', window.location.href);
const socketUrl = new URL(endpoint);
socketUrl.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

// Lines of at most 50 characters: that is what fits beside the buttons.
const welcome = `# First put a token into the headers below:
#   "Authorization": "Bearer whf_…"
# The book at the left shows the schema; Ctrl-Space
# completes a name, and Ctrl-Enter runs the operation
# that the cursor is in.

query Overview {
  viewer {
    name
    balance { available held total }
  }
  images {
    nodes { familiarName sizeMegabytes charge }
  }
  jobs(first: 10) {
    nodes { id kind reference state }
  }
}

mutation Pull {
  pullImage(input: { reference: "redis:7" }) {
    job { id state held }
    userErrors { code field message }
  }
}

# The variables have the id of the pull's job:
#   {"jobId": "job_…"}
subscription Progress($jobId: ID!) {
  pullProgress(jobId: $jobId) {
    phase
    downloaded
    total
    layers { id state downloaded total }
  }
}

subscription Balance {
  balanceChanged { available held total }
}
`;

// As the editor shows them, less an Authorization that nobody has filled in yet.
function given(headers) {
  const empty = ([name, value]) => name.toLowerCase() === 'authorization' && /^(bearer)?\s*$/i.test(value);
  return Object.fromEntries(Object.entries(headers ?? {}).filter((header) => !empty(header)));
}

function authorization(headers) {
  const name = Object.keys(headers).find((key) => key.toLowerCase() === 'authorization');
  return name === undefined ? undefined : headers[name];
}

function isSubscription(document, operationName) {
  const operations = (document?.definitions ?? []).filter((node) => node.kind === 'OperationDefinition');
  const chosen = operations.find((node) => node.name?.value === operationName) ?? operations[0];
  return chosen?.operation === 'subscription';
}

async function post(params, headers) {
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: {
      accept: 'application/graphql-response+json, application/json',
      ...headers,
      'content-type': 'application/json',
    },
    body: JSON.stringify(params),
  });
  return response.json();
}

// One socket for each subscription: the token that the editor shows when it starts is the one that counts.
// GraphiQL stops a subscription with return(), which closes the socket.
function subscribe(params, headers) {
  const client = graphqlWs.createClient({
    url: socketUrl.href,
    lazyCloseTimeout: 0,
    retryAttempts: 0,
    connectionParams: { authorization: authorization(headers) },
  });
  const results = client.iterate(params);
  return {
    next: () => results.next().catch(explain),
    return: () => results.return(),
    throw: (error) => results.throw(error),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

// A socket that the server closed is an event without a message; why is in its reason.
function explain(error) {
  if (error instanceof CloseEvent) {
    throw new Error(error.reason || `the connection was closed (${error.code})`);
  }
  throw error;
}

function fetcher(params, options) {
  const headers = given(options?.headers);
  return isSubscription(options?.documentAST, params.operationName)
    ? subscribe(params, headers)
    : post(params, headers);
}

// Introspection is for who is signed in. The schema's text is for everybody, unless a setting keeps it to the server: then
// the editor knows none.
async function schema() {
  const response = await fetch('/schema.graphql');
  return response.ok ? GraphiQL.GraphQL.buildSchema(await response.text()) : null;
}

schema().then((schema) =>
  ReactDOM.createRoot(document.getElementById('playground')).render(
    React.createElement(GraphiQL, {
      fetcher,
      schema,
      defaultQuery: welcome,
      isHeadersEditorEnabled: true,
      // A token would outlive the session in the browser's storage.
      shouldPersistHeaders: false,
      defaultHeaders: '{\n  "Authorization": "Bearer "\n}',
      defaultEditorToolsVisibility: 'headers',
    }),
  ),
);
