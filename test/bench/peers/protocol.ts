/** What the race and its processes say to each other, and the race's end of it. Each runtime has a process: what crashes or hangs there ends there. */
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Job, Opened, Ran } from "./runtime.js";

export type Request = { readonly kind: "open"; readonly job: unknown } | { readonly kind: "run" };

export type Reply =
  | ({ readonly kind: "opened" } & Pick<Opened, "version" | "adapter" | "loadMilliseconds">)
  /** `idleShare`: of one core, what the process used between its runs. */
  | ({ readonly kind: "ran"; readonly idleShare: number } & Ran)
  | { readonly kind: "failed"; readonly reason: string };

type ReplyOf<Kind extends Reply["kind"]> = Extract<Reply, { readonly kind: Kind }>;

const child = fileURLToPath(new URL("child.ts", import.meta.url));
const tsx = import.meta.resolve("tsx");
/** After its end was asked for, a process has this long. */
const graceMilliseconds = 5000;
const outputMilliseconds = 50;
const keptCharacters = 4000;

/** A runtime in a process of its own, which waits idly between requests. */
export class PeerProcess {
  private output = "";
  private ended: string | undefined;
  private waiting: { settle(reply: Reply): void } | undefined;
  private readonly process: ChildProcess;
  private readonly gone: Promise<void>;

  /** Starts Node with `child.ts` and a runtime's module, a file URL. */
  constructor(
    module: string,
    environment: Readonly<Record<string, string>> = {},
  ) {
    this.process = spawn(process.execPath, ["--import", tsx, child, module], { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe", "ipc"], serialization: "advanced" });
    const keep = (text: string): void => void (this.output = (this.output + text).slice(-keptCharacters));
    this.process.stdout?.setEncoding("utf8").on("data", keep);
    this.process.stderr?.setEncoding("utf8").on("data", keep);
    this.process.on("message", (reply: Reply) => this.waiting?.settle(reply));
    this.gone = new Promise((done) => {
      const end = (how: string): void => {
        this.ended ??= `${how}${this.lastWords()}`;
        this.waiting?.settle({ kind: "failed", reason: this.ended });
        done();
      };
      this.process.on("error", (error) => end(`its process did not start: ${error.message}`));
      // "close" does not come after a disconnect; the last of what it printed comes a moment after "exit".
      this.process.on("exit", (code, signal) => setTimeout(() => end(signal === null ? `its process ended with code ${code}` : `its process crashed (${signal})`), outputMilliseconds));
    });
  }

  /**
   * Loads the model.
   * @throws Error saying why not: the runtime refused, its process crashed, or `seconds` were not enough, which ends the process.
   */
  open(job: Job | Pick<Job, "adapter">, seconds: number): Promise<ReplyOf<"opened">> {
    return this.ask({ kind: "open", job }, "opened", seconds);
  }

  /**
   * Runs the model once.
   * @throws Error as `open` does.
   */
  run(seconds: number): Promise<ReplyOf<"ran">> {
    return this.ask({ kind: "run" }, "ran", seconds);
  }

  /** Ends the process: it is asked to, and killed if it does not. */
  async end(): Promise<void> {
    if (this.process.connected) this.process.disconnect();
    const timer = setTimeout(() => this.process.kill("SIGKILL"), graceMilliseconds);
    await this.gone;
    clearTimeout(timer);
  }

  private async ask<Kind extends "opened" | "ran">(request: Request, kind: Kind, seconds: number): Promise<ReplyOf<Kind>> {
    if (this.ended !== undefined) throw new Error(this.ended);
    const reply = await new Promise<Reply>((done) => {
      const timer = setTimeout(() => {
        this.ended ??= `it ${kind === "opened" ? "did not load" : "did not finish a run"} within ${seconds} s`;
        this.process.kill("SIGKILL");
        done({ kind: "failed", reason: this.ended });
      }, seconds * 1000);
      this.waiting = {
        settle: (answer) => {
          clearTimeout(timer);
          done(answer);
        },
      };
      this.process.send(request, (error) => {
        // The process is gone or on its way, and how it went says more.
        if (error) void this.gone.then(() => this.waiting?.settle({ kind: "failed", reason: this.ended ?? error.message }));
      });
    });
    this.waiting = undefined;
    if (reply.kind === kind) return reply as ReplyOf<Kind>;
    throw new Error(reply.kind === "failed" ? reply.reason : `its process answered "${reply.kind}" instead of "${kind}"`);
  }

  /** The last line of what the process printed, which is where a native crash says something if at all. */
  private lastWords(): string {
    const line = this.output.trimEnd().split("\n").at(-1)?.trim() ?? "";
    return line === "" ? "" : `: ${line.slice(0, 200)}`;
  }
}
