/** Appends rows to a file, as fast as it can: `sweep-writer.ts FILE NAME COUNT`. */
import { columns, type Row } from "../../compiler/sweep/row.js";
import { Store } from "../../compiler/sweep/store.js";

const [path, name, count] = process.argv.slice(2) as [string, string, string];
const empty = Object.fromEntries(columns.map((column) => [column.name, null])) as unknown as Row;
const store = Store.open(path);
for (let i = 0; i < Number(count); i++) store.append({ ...empty, name: `${name} ${i}`, spec_hash: `${name} ${i}`, version: "1", failed: "x".repeat((i * 37) % 400) });
store.close();
