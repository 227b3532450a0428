// mercurius.mjs: the two reads of `make bench-reads` by mercurius on fastify, as its authors advise: its loaders for what rows
// refer to (one statement for the hosts of a list), prepared statements, compiled queries, a pool.
import Fastify from "fastify";
import mercurius from "mercurius";
import { hostsOf, resolvers, schema, start, userOf } from "./shared.mjs";

const loaders = {
  Image: {
    host: {
      loader: (queries) => hostsOf(queries.map(({ obj }) => obj.host_id)),
      opts: { cache: false },
    },
  },
};

await start(async (port) => {
  const app = Fastify();
  const context = async (request) => {
    const user = await userOf(request.headers.authorization);
    if (!user) throw new mercurius.ErrorWithProps("sign in first", {}, 401);
    return { user };
  };
  // Compiled queries: the fastest that mercurius has.
  app.register(mercurius, { schema, resolvers, loaders, context, jit: 1 });
  app.get("/readyz", async () => "ready");
  await app.listen({ host: "127.0.0.1", port });
});
