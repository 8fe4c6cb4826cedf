// The same protocol as control.py, for drivers in JavaScript.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

export const options = JSON.parse(process.argv[3]);

// (job id, when it is due in seconds or null) of each job of an `enqueue`, in lists of at most `size`.
export function* batches(command, size) {
  for (let start = 0; start < command.jobs; start += size) {
    const some = [];
    for (let place = start; place < Math.min(start + size, command.jobs); place++) {
      const due = command.due == null ? null : command.due + place * command.apart;
      some.push({ id: `job-${command.first + place}`, due });
    }
    yield some;
  }
}

export async function serve(handlers, packages) {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    const began = performance.now();
    let told;
    try {
      told = { ...(await handlers[command.do](command)) };
    } catch (error) {
      told = { error: `${error.name}: ${error.message}` };
    }
    if (command.do === "enqueue") told.seconds ??= (performance.now() - began) / 1000;
    if (command.do === "prepare") told.versions = { node: process.versions.node, ...versionsOf(packages) };
    process.stdout.write(JSON.stringify(told) + "\n");
  }
  process.exit(0);
}

function versionsOf(packages) {
  const read = (name) => JSON.parse(readFileSync(`${process.cwd()}/node_modules/${name}/package.json`, "utf8")).version;
  return Object.fromEntries(packages.map((name) => [name, read(name)]));
}

// Counts finished jobs and tells the benchmark through a file: `count first last`, by the machine's monotonic clock.
let count = 0;
let first = 0;
let last = 0;
let told = 0;

export function add() {
  last = Number(process.hrtime.bigint()) / 1e9;
  if (count++ === 0) first = last;
}

if (process.argv[2] === "work") {
  setInterval(() => {
    if (count === told) return;
    const file = `${options.folder}/${process.pid}.tally`;
    writeFileSync(`${file}.new`, `${count} ${first} ${last}`);
    renameSync(`${file}.new`, file);
    told = count;
  }, 50);
}
