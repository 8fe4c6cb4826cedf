// pg-boss: batches of 5,000 with one outcome each, fetched without a pause while they come back full; polled every 0.5 s.
import { add, batches, options, serve } from "../shared/control.mjs";
import { post } from "../shared/posting.mjs";
import { pathToFileURL } from "node:url";

const { PgBoss } = await import(pathToFileURL(`${process.cwd()}/node_modules/pg-boss/dist/index.js`));
const boss = new PgBoss({ connectionString: options.database_url, max: 10, supervise: false, schedule: false });
boss.on("error", (error) => console.error(error.message));
await boss.start();
for (const name of ["noop", "post"]) await boss.createQueue(name);

if (process.argv[2] === "control") {
  await serve(
    {
      prepare: async () => {
        for (const name of ["noop", "post"]) await boss.deleteAllJobs(name);
      },
      enqueue: async (command) => {
        const spec = ({ id, due }) => ({ data: { id }, ...(due === null ? {} : { startAfter: new Date(due * 1000) }) });
        if (command.bulk) {
          for (const some of batches(command, 1000)) await boss.insert(command.kind, some.map(spec));
          return;
        }
        for (const [one] of batches(command, 1)) {
          const { data, startAfter } = spec(one);
          await boss.send(command.kind, data, startAfter ? { startAfter } : {});
        }
      },
      remaining: async () => {
        let remaining = 0;
        for (const name of ["noop", "post"]) {
          const { rows } = await boss.getDb().executeSql(
            "SELECT count(*)::int AS n FROM pgboss.job WHERE name = $1 AND state < 'completed'", [name]);
          remaining += rows[0].n;
        }
        return { remaining };
      },
    },
    ["pg-boss", "pg", "undici"],
  );
} else {
  const how = { batchSize: 5000, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true };
  await boss.work("noop", how, async (jobs) => jobs.forEach(add));
  await boss.work("post", how, async (jobs) => {
    await Promise.all(
      jobs.map(async ({ data }) => {
        await post(data.id);
        add();
      }),
    );
  });
}
