/**
 * Makes `import "vitc"` work inside this repository, for the packages in generated/ that share its runtime: each of them has a package.json of
 * its own, so Node does not take the name for a self-reference. Part of `npm ci` (script `prepare`).
 */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const link = `${root}node_modules/vitc`;
mkdirSync(`${root}node_modules`, { recursive: true });
if (!existsSync(link)) symlinkSync(root, link, "junction");
