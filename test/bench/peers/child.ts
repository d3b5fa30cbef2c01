/** The process of one runtime: `node --import tsx child.ts MODULE`, started by protocol.ts with an IPC channel. It ends when the channel does. */
import type { Reply, Request } from "./protocol.js";
import type { Job, Opened, RuntimeModule } from "./runtime.js";

const [module = ""] = process.argv.slice(2);
let opened: Opened | undefined;

/** Shares of less time than this, in milliseconds, are of a run that is just ending. */
const shortestIdle = 1000;

/** What the process used between runs, when it should have been idle. */
const idle = { since: 0, cpu: process.cpuUsage(), wallMilliseconds: 0, cpuMilliseconds: 0 };

process.on("message", (request: Request) => {
  answer(request).then(tell, (error: unknown) => tell({ kind: "failed", reason: reasonOf(error) }));
});
process.on("disconnect", () => {
  Promise.resolve(opened?.close?.()).then(
    // Some runtimes leave threads or timers behind.
    () => process.exit(0),
    () => process.exit(0),
  );
});

async function answer(request: Request): Promise<Reply> {
  if (request.kind === "open") {
    const { open } = (await import(module)) as RuntimeModule;
    opened = await open(request.job as Job);
    const { version, adapter, loadMilliseconds } = opened;
    return { kind: "opened", version, adapter, loadMilliseconds };
  }
  if (opened === undefined) throw new Error("run was asked for before open");
  countIdle();
  const { milliseconds, output } = await opened.run();
  Object.assign(idle, { since: performance.now(), cpu: process.cpuUsage() });
  // A view of a larger buffer would be sent whole.
  return { kind: "ran", milliseconds, output: output.slice(), idleShare: idle.wallMilliseconds < shortestIdle ? 0 : idle.cpuMilliseconds / idle.wallMilliseconds };
}

function countIdle(): void {
  if (idle.since === 0) return;
  const { user, system } = process.cpuUsage(idle.cpu);
  idle.cpuMilliseconds += (user + system) / 1000;
  idle.wallMilliseconds += performance.now() - idle.since;
}

function tell(reply: Reply): void {
  process.send?.(reply);
}

/** The first lines of what was thrown: some runtimes append a whole log. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replaceAll(/\s+/g, " ").trim().slice(0, 300);
}
