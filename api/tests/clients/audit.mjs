// Runs every audit of npm graphql-http against a server: node audit.mjs http://127.0.0.1:8080/graphql [TOKEN]
// Any audit that is not "ok" (MUST, SHOULD and MAY alike) fails the run.
import { auditServer } from 'graphql-http';

const [url, token] = process.argv.slice(2);
const authorization = token && `Bearer ${token}`;
const fetchFn = (input, init) => fetch(input, {
  ...init,
  headers: { ...init?.headers, ...(authorization && { authorization }) },
});
const results = await auditServer({ url, fetchFn });
const failed = results.filter((result) => result.status !== 'ok');
for (const { id, name, status, reason } of failed) console.error(`${status} ${id} ${name}: ${reason}`);
console.log(`${results.length - failed.length} of ${results.length} audits passed`);
process.exit(failed.length === 0 ? 0 : 1);
