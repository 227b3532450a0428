// shared.mjs: what the servers on Node have in common: schema, statements, resolvers, a pool, and how they start.
//
//   DATABASE_URL, PORT; PROCESSES=2 shares the port between as many processes.
import cluster from "node:cluster";
import { createHash } from "node:crypto";
import pg from "pg";

export const schema = `
  type Query {
    balance: Balance!
    images(first: Int): ImageConnection!
  }
  type Balance { available: String! held: String! total: String! }
  type ImageConnection { nodes: [Image!]! }
  type Image {
    id: ID! reference: String! size: Float! charge: String! visibility: String! pulledAt: String! host: Host!
  }
  type Host { id: ID! name: String! }
`;

const authenticate = {
  name: "authenticate",
  text: `SELECT u.id, u.total, u.held FROM api_tokens AS t JOIN users AS u ON u.id = t.user_id
    WHERE t.secret_hash = $1 AND (t.expires_at IS NULL OR t.expires_at > $2) AND u.status = 'ACTIVE'`,
};
const page = {
  name: "page",
  text: `SELECT id, reference, size, charge, visibility, pulled_at, host_id FROM (
      SELECT * FROM (SELECT * FROM images WHERE holder = $1 AND state = 'HELD' ORDER BY pulled_at DESC, id DESC LIMIT 20) AS own
      UNION ALL
      SELECT * FROM (SELECT * FROM images WHERE holder = $2 AND state = 'HELD' ORDER BY pulled_at DESC, id DESC LIMIT 20) AS public
      ORDER BY pulled_at DESC, id DESC LIMIT 20
    ) AS page ORDER BY pulled_at DESC, id DESC`,
};
const hosts = { name: "hosts", text: "SELECT id, name FROM hosts WHERE id = ANY($1)" };
const nobody = "00000000-0000-0000-0000-000000000000";

const globalId = (kind, id) => `${kind}_${id.replaceAll("-", "")}`;
// Micro-credits come as text: they are 64 bits wide.
const credits = (micro) => {
  const amount = BigInt(micro);
  const fraction = (amount % 1000000n).toString().padStart(6, "0").replace(/0+$/, "");
  return `${amount / 1000000n}${fraction && `.${fraction}`}`;
};
const instant = (micros) => {
  const amount = BigInt(micros);
  const fraction = (amount % 1000000n).toString().padStart(6, "0");
  return `${new Date(Number(amount / 1000000n) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
};

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16 });
const ask = async (statement, values) => (await pool.query({ ...statement, values })).rows;

// Whose the token of an `Authorization` header is, if it is good.
export const userOf = async (authorization) => {
  const token = authorization?.replace(/^Bearer /, "") ?? "";
  const hash = createHash("sha256").update(token).digest("hex");
  const [user] = await ask(authenticate, [hash, Date.now() * 1000]);
  return user;
};

// The hosts of these ids, in their order, in one statement.
export const hostsOf = async (ids) => {
  const found = new Map((await ask(hosts, [[...new Set(ids)]])).map((host) => [host.id, host]));
  return ids.map((id) => found.get(id));
};

// Everything but an image's host.
export const resolvers = {
  Query: {
    balance: (_, __, { user }) => ({
      available: credits(BigInt(user.total) - BigInt(user.held)),
      held: credits(user.held),
      total: credits(user.total),
    }),
    images: async (_, __, { user }) => ({ nodes: await ask(page, [user.id, nobody]) }),
  },
  Image: {
    id: (image) => globalId("image", image.id),
    size: (image) => Number(image.size),
    charge: (image) => credits(image.charge),
    pulledAt: (image) => instant(image.pulled_at),
  },
  Host: { id: (host) => globalId("host", host.id) },
};

// Runs a server in as many processes as there are to be.
export const start = async (serve) => {
  const processes = Number(process.env.PROCESSES ?? 1);
  if (processes > 1 && cluster.isPrimary) {
    for (let number = 0; number < processes; number += 1) cluster.fork();
  } else {
    await serve(Number(process.env.PORT));
  }
};
