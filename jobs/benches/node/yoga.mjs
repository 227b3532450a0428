// yoga.mjs: the two reads of `make bench-reads` by graphql-yoga with DataLoader, as they come: a loader for each request, parsed
// and validated documents kept, no compiled queries, prepared statements, a pool.
import { createServer } from "node:http";
import DataLoader from "dataloader";
import { GraphQLError } from "graphql";
import { createSchema, createYoga } from "graphql-yoga";
import { hostsOf, resolvers, schema, start, userOf } from "./shared.mjs";

const Image = {
  ...resolvers.Image,
  host: (image, _, { hosts }) => hosts.load(image.host_id),
};

await start(async (port) => {
  const yoga = createYoga({
    schema: createSchema({ typeDefs: schema, resolvers: { ...resolvers, Image } }),
    context: async ({ request }) => {
      const user = await userOf(request.headers.get("authorization"));
      if (!user) throw new GraphQLError("sign in first", { extensions: { http: { status: 401 } } });
      return { user, hosts: new DataLoader(hostsOf) };
    },
    healthCheckEndpoint: "/readyz",
    graphiql: false,
    logging: false,
  });
  createServer(yoga).listen(port, "127.0.0.1");
});
