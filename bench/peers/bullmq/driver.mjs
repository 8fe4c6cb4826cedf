// BullMQ: 100 jobs at a time, completed jobs removed.
import { createRequire } from "node:module";
import { add, batches, options, serve } from "../shared/control.mjs";
import { post } from "../shared/posting.mjs";

const require = createRequire(`${process.cwd()}/`);
const { Queue, Worker } = require("bullmq");
const Redis = require("ioredis");
const connection = new Redis(options.redis_url, { maxRetriesPerRequest: null });

if (process.argv[2] === "control") {
  const queue = new Queue("bench", { connection, defaultJobOptions: { removeOnComplete: true, attempts: 3 } });
  const delay = (due) => (due === null ? {} : { delay: Math.max(0, Math.round(due * 1000 - Date.now())) });
  await serve(
    {
      prepare: async () => void (await connection.flushdb()),
      enqueue: async (command) => {
        if (command.bulk) {
          for (const some of batches(command, 1000)) {
            await queue.addBulk(some.map(({ id, due }) => ({ name: command.kind, data: { id }, opts: delay(due) })));
          }
          return;
        }
        for (const [{ id, due }] of batches(command, 1)) await queue.add(command.kind, { id }, delay(due));
      },
      remaining: async () => {
        const counts = await queue.getJobCounts("wait", "active", "delayed", "prioritized");
        return { remaining: Object.values(counts).reduce((sum, each) => sum + each, 0) };
      },
    },
    ["bullmq", "ioredis", "undici"],
  );
} else {
  new Worker(
    "bench",
    async (job) => {
      if (job.name === "post") await post(job.data.id);
      add();
    },
    { connection, concurrency: 100, removeOnComplete: { count: 0 } },
  );
}
