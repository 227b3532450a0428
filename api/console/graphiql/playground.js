// GraphiQL on this host's /graphql: queries and mutations by POST, subscriptions by graphql-transport-ws.
// The Authorization of the headers editor goes with both; on the socket in connection_init's payload.
'use strict';

const endpoint = new URL('/graphql', window.location.href);
const socketUrl = new URL(endpoint);
socketUrl.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

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
  return client.iterate(params);
}

function fetcher(params, options) {
  const headers = options?.headers ?? {};
  return isSubscription(options?.documentAST, params.operationName)
    ? subscribe(params, headers)
    : post(params, headers);
}

ReactDOM.createRoot(document.getElementById('playground')).render(
  React.createElement(GraphiQL, {
    fetcher,
    isHeadersEditorEnabled: true,
    // A token would outlive the session in the browser's storage.
    shouldPersistHeaders: false,
    defaultHeaders: '{\n  "Authorization": ""\n}',
  }),
);
