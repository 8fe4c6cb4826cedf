// Graphile Worker: 24 jobs at a time from a local queue of 500, completion in batches; polled as often as it pays.
import { createRequire } from "node:module";
import { add, batches, options, serve } from "../shared/control.mjs";
import { post } from "../shared/posting.mjs";

const require = createRequire(`${process.cwd()}/`);
const { Logger, makeWorkerUtils, run } = require("graphile-worker");
const { Pool } = require("pg");
const logger = new Logger(() => (level, message) => level === "error" && console.error(message));
const pgPool = new Pool({ connectionString: options.database_url, max: 30 });
pgPool.on("error", () => {});

if (process.argv[2] === "control") {
  let utils;
  await serve(
    {
      prepare: async () => {
        utils ??= await makeWorkerUtils({ pgPool, logger });
        await utils.migrate();
        await pgPool.query("TRUNCATE graphile_worker._private_jobs");
      },
      enqueue: async (command) => {
        const spec = ({ id, due }) => ({
          identifier: command.kind,
          payload: { id },
          ...(due === null ? {} : { runAt: new Date(due * 1000) }),
        });
        if (command.bulk) {
          for (const some of batches(command, 1000)) await utils.addJobs(some.map(spec));
          return;
        }
        for (const [one] of batches(command, 1)) {
          const { identifier, payload, runAt } = spec(one);
          await utils.addJob(identifier, payload, { runAt });
        }
      },
      remaining: async () => {
        const { rows } = await pgPool.query("SELECT count(*)::int AS remaining FROM graphile_worker._private_jobs");
        return rows[0];
      },
    },
    ["graphile-worker", "pg", "undici"],
  );
} else {
  await run({
    pgPool,
    preset: {
      worker: {
        logger,
        concurrentJobs: 24,
        pollInterval: options.workload === "precision" ? 100 : 2000,
        ...(options.workload === "precision"
          ? {}
          : { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),
      },
    },
    taskList: {
      noop: async () => add(),
      post: async ({ id }) => {
        await post(id);
        add();
      },
    },
  });
}
