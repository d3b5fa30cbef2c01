import { Command } from "commander";
import { readFile, realpath } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import type { AdapterChoice, AdapterInfo } from "../../runtime/device.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import type { DoctorReport } from "./json.js";
import { jsonOption } from "./options.js";

/** `vitc doctor`: what this machine has for running models, and how to get what it lacks. */
export function doctorCommand(cli: Cli): Command {
  return new Command("doctor")
    .summary("tell whether this machine can run models, and what it lacks")
    .description("Tells what this machine has for running models: Node, Dawn (npm webgpu), a GPU, a software adapter, and which features of theirs matter. For what is missing it tells how to get it. It looks from where a package would: from the one that is named, or from the current folder. Exit code 1 if nothing can run.")
    .argument("[package]", "folder that vitc compile wrote (default: any in the current folder)")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc doctor\n  $ vitc doctor generated/my-vit\n  $ vitc doctor --json")
    .action(async (reference: string | undefined, options: { readonly json?: boolean }) => {
      const place = await placeOf(reference, cli.cwd);
      const progress = cli.progress("Looking for adapters");
      const report = await examine(place).finally(() => progress.done());
      if (!report.usable) process.exitCode = 1;
      if (options.json === true) return cli.json((await import("./json.js")).jsonShapes.doctor, report);
      cli.print(await describe(report));
    });
}

/** For whom the doctor looks. */
interface Place {
  /** Absolute. */
  readonly folder: string;
  /** Where the runtime's files lie for a package there, and then the fallback. npm packages are looked up from these, in this order. */
  readonly files: readonly string[];
}

/** What a package's runtime looks npm packages up from: its own files, and then the working directory. */
async function placeOf(reference: string | undefined, cwd: string): Promise<Place> {
  const here = join(cwd, "index.js");
  if (reference === undefined) return { folder: cwd, files: [here] };
  const { readProvenance } = await import("../emit/write.js");
  const named = resolve(cwd, reference);
  const provenance = await readProvenance(named);
  if (provenance === undefined) throw new UserError(`${reference} is not a package of vitc: it has no package.json with a "vitc" entry; name a package's folder, or none to look from the current one`);
  // Modules know their files without links.
  const folder = await realpath(named);
  if (!provenance.sharedRuntime) return { folder, files: [join(folder, "runtime", "node.js"), here] };
  try {
    return { folder, files: [createRequire(join(folder, "index.js")).resolve("vitc/runtime/codegen"), here] };
  } catch (cause) {
    throw new UserError(`${reference} was compiled with --shared-runtime and finds no vitc to import: npm install vitc where it lies, or compile it without that option`, { cause });
  }
}

async function examine({ folder, files }: Place): Promise<DoctorReport> {
  const { findSoftwareAdapter } = await import("../../runtime/node.js");
  const { lookUpFrom, resolvePackage, swiftShaderPackage } = await import("../../runtime/node-software.js");
  const problems: DoctorReport["problems"] = [];
  const own = { webgpu: resolvePackage("webgpu"), swiftShader: resolvePackage("@sparticuz/chromium") };
  lookUpFrom(files);
  const webgpu = await describeWebgpu(resolvePackage("webgpu"));
  // In this order: what a run would do first, before the search has loaded anything into the process.
  const auto = await probe("auto");
  const gpu = await probe("gpu");
  const software = await probe("software");
  const source = await findSoftwareAdapter();
  const images = await import("sharp").then(() => undefined, (error: unknown) => reasonOf(error));

  const usable = auto.adapter !== null;
  if (!webgpu.installed && own.webgpu !== undefined) {
    problems.push({ what: `The npm package webgpu (Dawn for Node) is not found from ${folder}. vitc's own copy (${dirname(own.webgpu)}) is for vitc alone: a package does not see it.`, fix: "npm install webgpu", blocking: true });
  } else if (!usable) problems.push({ ...fault(auto.reason), blocking: true });
  else if (gpu.adapter === null) problems.push({ what: `There is no GPU, so models run on the CPU, slowly:\n${triedIn(gpu.reason)}`, fix: "Install your GPU's driver; in a container, hand the GPU to it. For speed without a GPU, use a CPU runtime.", blocking: false });
  if (webgpu.installed && software.adapter === null && own.swiftShader !== undefined && resolvePackage("@sparticuz/chromium") === undefined) {
    problems.push({ what: `A software adapter, SwiftShader, is installed for vitc alone (${dirname(own.swiftShader)}): a package does not see it from ${folder}.`, fix: `npm install --save-dev ${swiftShaderPackage}`, blocking: false });
  }
  if (images !== undefined) problems.push({ what: `Image files cannot be decoded: npm sharp does not load (${images}).`, fix: "npm install sharp; or give `vitc run` a safetensors file with the preprocessed `input`.", blocking: false });
  return {
    usable,
    version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    folder,
    webgpu,
    gpu: gpu.adapter,
    software: software.adapter,
    auto: auto.adapter,
    softwareSource: "source" in source ? source.source : null,
    images: images === undefined,
    problems,
  };
}

interface Probe {
  readonly adapter: DoctorReport["auto"];
  /** Why there is none. */
  readonly reason: string;
}

/** Opens a device as a run does, and closes it. */
async function probe(choice: AdapterChoice): Promise<Probe> {
  const { requestDevice } = await import("../../runtime/node.js");
  try {
    const { abilitiesOf, askedFeatures } = await import("./doctor-features.js");
    const { device, adapter } = await requestDevice({ adapter: choice, optionalFeatures: askedFeatures });
    const abilities = abilitiesOf(device, adapter);
    device.destroy();
    return { adapter: await shown(adapter, abilities), reason: "" };
  } catch (error) {
    return { adapter: null, reason: reasonOf(error) };
  }
}

async function shown(info: AdapterInfo, abilities: NonNullable<DoctorReport["auto"]>["abilities"]): Promise<NonNullable<DoctorReport["auto"]>> {
  const { adapterName } = await import("../../runtime/device.js");
  return { name: adapterName(info), software: info.software, ...(info.notice === undefined ? {} : { notice: info.notice }), abilities };
}

async function describeWebgpu(entry: string | undefined): Promise<DoctorReport["webgpu"]> {
  if (entry === undefined) return { installed: false };
  const folder = dirname(entry);
  const manifest = await readFile(join(folder, "package.json"), "utf8").then((text) => JSON.parse(text) as { readonly version?: unknown }, () => undefined);
  return { installed: true, folder, ...(typeof manifest?.version === "string" ? { version: manifest.version } : {}) };
}

/** The runtime's message says what was tried and, in its last line, what to do. */
function fault(reason: string): { what: string; fix: string } {
  const lines = reason.replace(/ `vitc doctor` shows.*$/s, "").split("\n");
  const install = lines.findLast((line) => /^(Install|It holds|Its binary)/.test(line)) ?? /npm install \S+/.exec(reason)?.[0] ?? "npm install webgpu";
  return { what: lines.filter((line) => line !== install).join("\n"), fix: install };
}

/** What was tried, in the runtime's words. */
const triedIn = (reason: string): string => reason.split("\n").filter((line) => line.startsWith("  - ")).join("\n");

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function describe(report: DoctorReport): Promise<string> {
  const { abilityRows } = await import("./doctor-features.js");
  const adapter = (found: DoctorReport["auto"], none: string): string => (found === null ? none : `${found.name}${found.software ? " (software)" : ""}`);
  const rows: (readonly [string, string])[] = [
    ["vitc", report.version],
    ["node", `${report.node}, ${report.platform}`],
    ["seen from", report.folder],
    ["webgpu", report.webgpu.installed ? `${report.webgpu.version ?? "installed"}, from ${report.webgpu.folder}` : "not installed"],
    ["GPU", adapter(report.gpu, "none")],
    ["software", adapter(report.software, "none")],
    ["", report.softwareSource === null ? "" : `from ${report.softwareSource}`],
    ["image files", report.images ? "yes" : "no"],
    ["a run uses", adapter(report.auto, "nothing: no model can run here")],
  ];
  const abilities = report.auto === null ? [] : abilityRows(report.auto.abilities);
  const lines = rows.filter(([, value]) => value !== "").map(([name, value]) => `${name.padEnd(11)}  ${value}`);
  const problems = report.problems.map(({ what, fix }) => `\n${what}\n  -> ${fix}`);
  return [...lines, ...abilities.map(([name, value]) => `  ${name.padEnd(15)}  ${value}`), ...problems].join("\n");
}
