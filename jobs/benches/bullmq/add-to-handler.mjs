// add-to-handler.mjs JOBS MANY: runs JOBS one by one on an idle queue, then MANY at once, and prints what they took as JSON.
import { Queue, Worker } from "bullmq";
import Redis from "ioredis";
import { setTimeout as pause } from "node:timers/promises";

const [jobs, many] = process.argv.slice(2).map(Number);
const warmUp = 20;
const connect = () => new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const connections = [connect(), connect()];
const name = `bench-${process.pid}-${Date.now()}`;
const queue = new Queue(name, { connection: connections[0] });

let handled = () => {};
const worker = new Worker(
  name,
  async () => {
    handled(performance.now());
  },
  { connection: connections[1], concurrency: 8 },
);
await worker.waitUntilReady();

const fromCall = [];
const fromAnswer = [];
for (let number = 0; number < warmUp + jobs; number++) {
  const handler = new Promise((resolve) => (handled = resolve));
  const called = performance.now();
  await queue.add("job", { number }, { removeOnComplete: true });
  const answered = performance.now();
  const at = await handler;
  if (number >= warmUp) {
    fromCall.push(at - called);
    fromAnswer.push(at - answered);
  }
  await pause(20);
}

let left = many;
const done = new Promise((resolve) => worker.on("completed", () => --left === 0 && resolve()));
handled = () => {};
const start = performance.now();
for (let number = 0; number < many; number += 100) {
  const batch = Array.from({ length: Math.min(100, many - number) }, (_, index) => index);
  await Promise.all(batch.map((index) => queue.add("job", { index }, { removeOnComplete: true })));
}
await done;
const perSecond = (many * 1000) / (performance.now() - start);

await worker.close();
await queue.obliterate({ force: true });
await queue.close();
connections.forEach((connection) => connection.disconnect());
console.log(JSON.stringify({ fromCall, fromAnswer, perSecond }));
