import type { Page } from "playwright-core";
import type { Server } from "./serve.js";

/** Runs in a page: loads a package from its URL and returns every output. */
const inPage = `async ({ folder, weights, input }) => {
  const { load } = await import(folder + "/index.js");
  const notices = [];
  const stages = new Set();
  const model = await load({ weights: new URL(weights, location.href), onNotice: (text) => notices.push(text), onProgress: ({ stage }) => stages.add(stage) });
  const values = new Float32Array(await (await fetch(input)).arrayBuffer());
  const outputs = await model.run(values);
  const software = model.adapter.software;
  model.dispose();
  return { outputs: Object.entries(outputs).map(([name, data]) => ({ name, shape: data.shape, values: [...data] })), notices, stages: [...stages], software };
}`;

export interface PageResult {
  readonly outputs: readonly { readonly name: string; readonly shape: readonly number[]; readonly values: readonly number[] }[];
  readonly notices: readonly string[];
  readonly stages: readonly string[];
  readonly software: boolean;
}

/** A page of a server, and what went wrong in it. */
export interface OpenPage {
  readonly failures: readonly string[];
  /** Loads the package at `folder` with `weights` and runs it on the f32 values at `input`; all are URLs on the server. */
  run(folder: string, weights: string, input: string): Promise<PageResult>;
}

export async function openPage(page: Page, server: Server): Promise<OpenPage> {
  const failures: string[] = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => void (message.type() === "error" && failures.push(message.text())));
  await page.goto(`${server.url}/`);
  return {
    failures,
    run: (folder, weights, input) => page.evaluate(`(${inPage})(${JSON.stringify({ folder, weights, input })})`) as Promise<PageResult>,
  };
}
