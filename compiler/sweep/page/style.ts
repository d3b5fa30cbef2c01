/** What the sweep's page has beyond the explain page's style. */
export const ownStyle: string = `
main,.top,footer,nav ul{max-width:1240px}
.chart{width:100%;height:460px;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:10px 6px 4px}
#tokens{height:560px}#parallel{height:420px}
.controls{display:flex;flex-wrap:wrap;gap:8px 18px;align-items:center;margin-bottom:12px;font-size:.86rem;color:var(--soft)}
.controls label{display:inline-flex;align-items:center;gap:6px;max-width:100%}
select,.controls input[type=search],.search input{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:8px;padding:4px 8px;max-width:100%;min-width:0}
input[type=checkbox]{accent-color:var(--link);width:16px;height:16px;margin:0}
.note{color:var(--soft);font-size:.86rem;margin:8px 2px 0;min-height:1.4em}
.marks{display:inline-flex;flex-wrap:wrap;gap:2px 16px}
.tip{max-width:280px;white-space:normal;font-size:13px;line-height:1.4}
.tip b{display:block;overflow-wrap:anywhere;margin-bottom:3px}
.tip dl{display:grid;grid-template-columns:auto 1fr;gap:0 12px;margin:0}
.tip dt{opacity:.75}.tip dd{margin:0;text-align:right;font-variant-numeric:tabular-nums}
.picked-card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 16px;margin-top:12px}
.picked-card header{display:flex;justify-content:space-between;gap:12px;align-items:start;margin-bottom:8px}
.picked-card h3{overflow-wrap:anywhere}
.picked-card dl,.same{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:8px 18px;margin:0;font-size:.86rem}
.picked-card dt,.same dt{color:var(--soft);font-size:.8rem}
.picked-card dd,.same dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.same{margin-top:18px}
#filter{width:min(460px,100%);font-family:var(--mono);font-size:.84rem}
.search{display:flex;flex-wrap:wrap;gap:6px;align-items:center;margin-bottom:4px}.search input{margin:0}
#filter-problem{color:var(--bad);font-size:.86rem;min-height:1.4em;margin:0 0 6px}
#columns{display:flex;flex-wrap:wrap;gap:6px 16px;font-size:.86rem;padding:4px 0 10px}
#columns label{display:inline-flex;gap:6px;align-items:center}
#rows{width:auto;min-width:100%}
#rows th,#rows td{white-space:nowrap;padding:5px 14px 5px 0}
#rows thead button{border:0;background:none;border-radius:4px;padding:2px 0;color:var(--soft);font-size:.82rem;font-weight:600}
#rows thead button:hover{color:var(--ink);text-decoration:underline}
#rows th[aria-sort=ascending] button,#rows th[aria-sort=descending] button{color:var(--ink)}
#rows th[scope=row],#rows thead th:first-child{position:sticky;left:0;background:var(--ground);z-index:1;max-width:min(420px,52vw);overflow:hidden;text-overflow:ellipsis}
#rows .pick{border:0;background:none;border-radius:4px;padding:1px 2px;font-family:var(--mono);font-size:1em;text-decoration:none;opacity:1;color:var(--link);max-width:100%;overflow:hidden;text-overflow:ellipsis}
#rows .pick:hover{text-decoration:underline}
#rows .picked>td,#rows .picked>th[scope=row]{background:color-mix(in srgb,var(--link) 14%,var(--ground))}
#rows .front{display:inline-block;width:8px;height:8px;border-radius:50%;background:var(--good);margin:0 6px 0 0;vertical-align:middle}
#rows thead button i{background:none;width:0;height:0;border-radius:0;margin:0 0 0 5px;border:4px solid transparent;vertical-align:middle}#rows thead .up{border-bottom:6px solid;border-top:0}#rows thead .down{border-top:6px solid;border-bottom:0}
.marks svg{width:12px;height:12px;margin-right:5px;vertical-align:-1px;fill:var(--soft)}
.failures{list-style:none;margin:0;padding:0;display:grid;gap:10px}
.failures li{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:10px 16px}
.failures .names{font-family:var(--mono);font-size:.8rem;color:var(--soft);overflow-wrap:anywhere;margin-top:4px}
.notices{list-style:none;margin:18px 0 0;padding:0;font-size:.92rem;color:var(--bad);max-width:78ch;display:grid;gap:4px}
noscript p{color:var(--bad)}
@media (max-width:760px){.chart{height:400px;padding:8px 0 2px;border-radius:8px}#tokens{height:500px}#parallel{height:540px}}
`;
