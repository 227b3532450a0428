// postgraphile.mjs: the two reads of `make bench-reads` by PostGraphile, as it comes, over a view and two functions of the
// database: it makes one statement of a whole query, in a transaction that says who asks.
import { createServer } from "node:http";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { postgraphile } from "postgraphile";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { GraphQLError } from "graphql";
import { nobody, pool, start, userOf } from "./shared.mjs";

// What the resolvers of the others do, in SQL.
const credits = (micro) => `trim_scale(${micro} / 1000000.0)::text`;
const page = (holder) => `SELECT * FROM (SELECT * FROM public.images WHERE holder = ${holder} AND state = 'HELD'
  ORDER BY pulled_at DESC, id DESC LIMIT 20) AS page`;
const asker = "current_setting('bench.user')::uuid";
const definitions = `
  DROP SCHEMA IF EXISTS bench CASCADE;
  CREATE SCHEMA bench;
  CREATE TYPE bench.balance AS (available text, held text, total text);
  CREATE VIEW bench.host AS SELECT id AS key, 'host_' || replace(id::text, '-', '') AS id, name FROM public.hosts;
  CREATE VIEW bench.image AS SELECT 'image_' || replace(id::text, '-', '') AS id, reference, size::float8 AS size,
    ${credits("charge")} AS charge, visibility, host_id,
    to_char(to_timestamp(pulled_at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.')
      || lpad((pulled_at % 1000000)::text, 6, '0') || 'Z' AS pulled_at FROM public.images;
  COMMENT ON VIEW bench.host IS E'@primaryKey key\\n@behavior -query:resource:list -query:resource:connection';
  COMMENT ON VIEW bench.image IS
    E'@foreignKey (host_id) references bench.host (key)|@fieldName host\\n@behavior -query:resource:list -query:resource:connection';
  CREATE FUNCTION bench.images() RETURNS SETOF bench.image LANGUAGE sql STABLE AS $$
    SELECT 'image_' || replace(id::text, '-', ''), reference, size::float8, ${credits("charge")}, visibility, host_id,
      to_char(to_timestamp(pulled_at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.')
        || lpad((pulled_at % 1000000)::text, 6, '0') || 'Z'
    FROM (${page(asker)} UNION ALL ${page(`'${nobody}'`)}) AS page ORDER BY page.pulled_at DESC, page.id DESC LIMIT 20
  $$;
  CREATE FUNCTION bench.balance() RETURNS bench.balance LANGUAGE sql STABLE AS $$
    SELECT ${credits("(total - held)")}, ${credits("held")}, ${credits("total")} FROM public.users WHERE id = ${asker}
  $$;
`;

const serve = async (port) => {
  const preset = {
    extends: [PostGraphileAmberPreset],
    pgServices: [makePgService({ pool, schemas: ["bench"] })],
    grafast: {
      context: async ({ node }) => {
        const user = await userOf(node.req.headers.authorization);
        if (!user) throw new GraphQLError("sign in first");
        return { pgSettings: { "bench.user": user.id } };
      },
    },
    grafserv: { graphiql: false, websockets: false },
  };
  const { schema, resolvedPreset } = await postgraphile(preset).getSchemaResult();
  const handle = grafserv({ preset: resolvedPreset, schema }).createHandler();
  const server = createServer((request, response) =>
    request.url === "/readyz" ? response.end("ready") : handle(request, response),
  );
  server.listen(port, "127.0.0.1");
};

await start(serve, () => pool.query(definitions));
