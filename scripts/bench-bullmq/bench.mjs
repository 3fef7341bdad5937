// How many tasks a second BullMQ hands to one worker that does nothing.
//
//     node bench.mjs REDIS_URL TASKS CONCURRENCY     answers {"tasks": …, "seconds": …}
import { Queue, Worker } from 'bullmq';

const [url, tasks, concurrency] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const name = `bench-${process.pid}`;
const many = Number(tasks);

const queue = new Queue(name, { connection });
const task = { name: 't', data: {}, opts: { removeOnComplete: true } };
for (let added = 0; added < many; added += 1000) {
  await queue.addBulk(Array(Math.min(1000, many - added)).fill(task));
}

let done = 0;
let begun;
const options = { connection, concurrency: Number(concurrency), autorun: false };
const worker = new Worker(name, async () => { begun ??= performance.now(); }, options);
await worker.waitUntilReady();
const ended = new Promise((resolve) => {
  worker.on('completed', () => { if (++done === many) resolve(performance.now()); });
});
worker.run();
const seconds = ((await ended) - begun) / 1000;
console.log(JSON.stringify({ tasks: many, seconds }));
await worker.close();
await queue.obliterate({ force: true });
await queue.close();
