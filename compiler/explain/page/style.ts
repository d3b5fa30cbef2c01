import type { DispatchKind } from "../report.js";

/** Colours of kinds on light and on dark ground: told apart by people with any colour vision, and 3:1 against the ground. */
const colors: Readonly<Record<DispatchKind, readonly [light: string, dark: string]>> = {
  matmul: ["#2f6fd6", "#6ea3ff"],
  attention: ["#c4501b", "#f28b5b"],
  convolution: ["#0b8378", "#45c0b2"],
  norm: ["#7b4fc9", "#b596f5"],
  embed: ["#4d7c0f", "#9ccc56"],
  pool: ["#a16207", "#dfb23f"],
  sum: ["#64748b", "#97a6ba"],
};

const kindColors = (scheme: 0 | 1): string => Object.entries(colors).map(([kind, pair]) => `.k-${kind}{--k:${pair[scheme]}}`).join("");

/** The page's style sheet. */
export const style: string = `
:root{color-scheme:light dark;--ground:#fbfaf7;--card:#fff;--ink:#1d1c1a;--soft:#5f5b54;--line:#e3dfd6;--faint:#f3f0e9;--link:#1f5bb8;--good:#2d6a2f;--bad:#a23b12;
--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;--sans:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
${kindColors(0)}
@media (prefers-color-scheme:dark){:root{--ground:#141517;--card:#1c1e21;--ink:#e9e6e0;--soft:#a5a19a;--line:#33363b;--faint:#24272b;--link:#8ab4ff;--good:#8fcf8d;--bad:#f2a07b}${kindColors(1)}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 var(--sans)}
main,.top,footer{max-width:1080px;margin:0 auto;padding:0 24px}
h1{font-size:clamp(1.6rem,4.5vw,2.5rem);line-height:1.15;letter-spacing:-.02em;margin:0 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1.4rem;letter-spacing:-.01em;margin:0 0 .3rem}
h3{font-size:1rem;margin:0}
p{margin:0}
a{color:var(--link)}
code,pre,.name b,table th[scope=row]{font-family:var(--mono);font-size:.86em}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--card);padding:8px 12px;z-index:2}
.top{padding-top:48px}
.top .lead{font-size:1.1rem;max-width:62ch;color:var(--soft)}
nav{position:sticky;top:0;z-index:1;background:var(--ground);border-bottom:1px solid var(--line);margin-top:24px}
nav ul{max-width:1080px;margin:0 auto;padding:0 24px;list-style:none;display:flex;gap:20px;overflow-x:auto;scrollbar-width:none}
nav a{display:block;padding:10px 0;color:var(--soft);text-decoration:none;white-space:nowrap;font-size:.92rem}
nav a:hover{color:var(--ink)}
main>section{padding:40px 0 8px;scroll-margin-top:44px}
main>section>p{color:var(--soft);max-width:70ch;margin-bottom:18px}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:1px;background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden;margin:28px 0 0}
.numbers div{background:var(--card);padding:14px 16px}
.numbers dt{color:var(--soft);font-size:.82rem}
.numbers dd{margin:0;font-size:1.35rem;font-weight:600;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.numbers small{display:block;font-size:.8rem;font-weight:400;letter-spacing:0;color:var(--soft)}

.flow{list-style:none;margin:0;padding:0;display:flex;gap:34px}
.flow li{flex:1 1 0;min-width:0;position:relative}
.flow li+li::before{content:"";position:absolute;left:-23px;top:58px;width:9px;height:9px;border:solid var(--soft);border-width:2px 2px 0 0;transform:rotate(45deg)}
.flow figure{margin:0}
.drawing{height:128px;display:flex;align-items:center;justify-content:center}
.drawing svg{max-width:100%;max-height:120px;width:120px;border-radius:4px}
.flow .gray{filter:grayscale(1)}
.flow figcaption{margin-top:8px;text-align:center;font-size:.86rem;color:var(--soft)}
.flow figcaption strong{display:block;color:var(--ink);font-size:1rem}
.flow figcaption span{display:block}
.sheet{fill:color-mix(in srgb,#0b8378 35%,var(--card));stroke:#0b8378}
.token{fill:#5b8ec4}.token.own{fill:#d97a3d}
.slab{fill:color-mix(in srgb,#2f6fd6 26%,var(--card));stroke:#5b8ee0;stroke-width:1.2}
.score{fill:var(--line)}.score.best{fill:#d97a3d}

.stages{display:grid;grid-template-columns:minmax(0,1fr);gap:18px}
@media (min-width:900px){.stages{grid-template-columns:repeat(2,minmax(0,1fr));align-items:start}.stages:has(>:nth-child(3):last-child){grid-template-rows:auto 1fr}.stages:has(>:nth-child(4)){display:block;columns:2;column-gap:18px}.stages:has(>:nth-child(4)) .stage{break-inside:avoid;margin-bottom:22px}.stage.block:nth-child(2):nth-last-child(2){grid-row:1/span 2;grid-column:2}}
.stage{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 16px 18px}
.stage.repeated{box-shadow:5px 5px 0 -1px var(--card),5px 5px 0 0 var(--line),10px 10px 0 -1px var(--card),10px 10px 0 0 var(--line)}
.stage header{margin-bottom:10px}
.stage header p{color:var(--soft);font-size:.86rem}
.times{color:var(--soft);font-weight:400;font-family:var(--sans);white-space:nowrap}
.rows{list-style:none;margin:0;padding:0}
.row{display:grid;grid-template-columns:var(--lanes) minmax(0,1fr);position:relative;padding-top:16px}
.row.entry{padding-top:0}
.row.entry p{justify-self:start;border:1px dashed var(--soft);border-radius:99px;padding:0 12px;font-size:.82rem;color:var(--soft)}
.row.spine::before{content:"";position:absolute;left:calc(var(--lanes) + 22px);top:0;height:16px;border-left:2px solid var(--soft)}
.row.spine::after{content:"";position:absolute;left:calc(var(--lanes) + 19px);top:7px;width:6px;height:6px;border:solid var(--soft);border-width:0 2px 2px 0;transform:rotate(45deg)}
.gutter{position:relative;align-self:stretch;margin-top:-16px}
.row.entry .gutter{margin-top:0}
.gutter i{position:absolute;left:calc(var(--at) + 8px);right:0;font-style:normal}
.gutter .passes{top:0;bottom:0;border-left:2px solid var(--soft)}
.gutter .starts{top:50%;bottom:0;border:solid var(--soft);border-width:2px 0 0 2px;border-radius:9px 0 0 0}
.row:not(.entry) .gutter .starts{top:calc(50% + 8px)}
.gutter .ends{top:0;height:calc(50% + 8px);border:solid var(--soft);border-width:0 0 2px 2px;border-radius:0 0 0 9px}
.gutter .starts~.ends,.gutter .ends~.starts{border-radius:0}
.gutter .adds{left:auto;right:-9px;top:calc(50% - 1px);width:18px;height:18px;border-radius:50%;background:var(--card);border:2px solid var(--soft);color:var(--ink);font:600 14px/13px var(--sans);text-align:center;z-index:1}
.node{border:1px solid var(--line);border-left:4px solid var(--k);border-radius:8px;padding:7px 12px 8px 14px;background:var(--card)}
.name{display:flex;flex-wrap:wrap;gap:2px 10px;align-items:baseline}
.name b{font-size:.92rem}
.kind{color:var(--k);font-size:.82rem;font-weight:600}
.shape{color:var(--soft);font-size:.82rem;margin-left:auto;font-variant-numeric:tabular-nums}
.chips{display:flex;flex-wrap:wrap;gap:4px;margin:5px 0 4px}
.chips code,.badge{background:var(--faint);border-radius:5px;padding:1px 7px;font-size:.78rem}
.badge{background:none;border:1px solid var(--line);color:var(--soft)}
.badge.out{border-color:var(--good);color:var(--good)}
.cost{color:var(--soft);font-size:.8rem;font-variant-numeric:tabular-nums}
[data-dispatch].lit .node,tr[data-dispatch].lit>*{background:color-mix(in srgb,var(--k) 12%,var(--card))}

.passes{list-style:none;margin:0;padding:0;display:grid;gap:10px}
.pass{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 16px}
.pass header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 16px;align-items:baseline}
.pass h3{font-family:var(--mono);font-size:.95rem}
.pass header p{font-size:.86rem;color:var(--soft)}
.pass .result{color:var(--ink);font-weight:600}
.pass>p{color:var(--soft);font-size:.92rem;max-width:78ch}
.pass.idle{background:none;border-color:transparent;padding-top:2px;padding-bottom:4px}.pass.idle h3{color:var(--soft)}.pass.idle .result{font-weight:400;color:var(--soft)}
.pass ul{list-style:none;margin:8px 0 0;padding:8px 0 0;border-top:1px solid var(--line);font-size:.88rem;display:grid;gap:4px}
.mark{display:inline-block;min-width:64px;font-weight:600;font-size:.8rem;color:var(--good)}
.declined .mark{color:var(--bad)}

.share{display:grid;grid-template-columns:56px 1fr;align-items:center;gap:10px;font-size:.86rem;color:var(--soft);margin-bottom:6px}
.stack{display:flex;height:22px;border-radius:6px;overflow:hidden;gap:1px}
.stack i{background:var(--k);min-width:1px}
.legend{display:flex;flex-wrap:wrap;gap:6px;margin:12px 0 16px}
button{font:inherit;font-size:.84rem;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:99px;padding:3px 12px;cursor:pointer}
button i,table th i,summary>i{display:inline-block;width:9px;height:9px;border-radius:2px;background:var(--k);margin-right:7px}
button span{color:var(--soft)}
button[aria-pressed=false]{opacity:.62;text-decoration:line-through}
.search{display:block;font-size:.86rem;color:var(--soft);margin-bottom:12px}
.search input{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:8px;padding:5px 10px;margin-left:6px;width:min(320px,70%)}
.scroll{overflow-x:auto;margin-bottom:20px}
table{border-collapse:collapse;width:100%;font-size:.88rem}
caption{text-align:left;color:var(--soft);font-size:.84rem;padding-bottom:6px}
th,td{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid var(--line);vertical-align:middle;font-weight:400}
thead th{color:var(--soft);font-size:.82rem;white-space:nowrap}
tfoot th,tfoot td{border-bottom:0;font-weight:600;font-family:var(--sans)}
th[scope=row]{overflow-wrap:anywhere;min-width:7.4rem}td{overflow-wrap:anywhere}
.dispatches th[scope=row]{position:relative;padding-left:17px}.dispatches th i{position:absolute;left:0;top:calc(50% - 5px)}.dispatches tfoot th[scope=row]{padding-left:0}
td.wide a{font-family:var(--mono);font-size:.78rem;color:var(--soft);text-decoration:none;overflow-wrap:anywhere}td.wide a:hover{color:var(--link);text-decoration:underline}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.measure{position:relative;min-width:104px}
.measure i{position:absolute;left:0;top:5px;bottom:5px;background:var(--k);opacity:.3;border-radius:3px;min-width:2px}
.measure span{position:relative;padding-left:6px;font-variant-numeric:tabular-nums;white-space:nowrap}
.beyond th,.beyond td{color:var(--bad)}
tr[hidden]{display:none}

.timeline{display:block;font-family:var(--sans)}
.timeline text{fill:var(--ink);font-size:11px}
.timeline .lane{fill:var(--faint)}
.timeline .arena{font-size:12px;font-family:var(--mono)}
.timeline .size,.timeline .step,.timeline .part{fill:var(--soft)}
.timeline .part,.timeline .more{text-anchor:middle}
.timeline .bracket{fill:none;stroke:var(--soft)}
.timeline .value rect{fill:color-mix(in srgb,var(--k) 30%,var(--card));stroke:var(--k)}
.timeline .value:hover rect,.timeline .value.lit rect{fill:color-mix(in srgb,var(--k) 60%,var(--card));stroke-width:2}
.timeline .rest{fill:var(--ground);opacity:.62}
.timeline .more{fill:var(--soft)}

details{margin:0 0 8px}
summary{cursor:pointer;padding:6px 0;color:var(--soft);font-size:.9rem}
summary code{color:var(--ink);word-break:break-all}
.kernel{border:1px solid var(--line);border-radius:8px;background:var(--card);padding:0 14px;scroll-margin-top:52px}
.kernel summary span{display:inline-block;margin-left:10px;font-size:.82rem}
.kernel>p{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:center;font-size:.84rem;color:var(--soft);margin-bottom:10px}
.kernel .copy{margin-left:auto}
pre{margin:0 0 14px;padding:12px;background:var(--faint);border-radius:8px;overflow:auto;max-height:460px;font-size:.8rem;line-height:1.45}
pre code{font-size:1em}
footer{padding-top:24px;padding-bottom:48px;color:var(--soft);font-size:.86rem}

@media (max-width:760px){
main,.top,footer,nav ul{padding-left:16px;padding-right:16px}.top{padding-top:28px}
.flow{flex-direction:column;gap:26px}
.flow figure{display:grid;grid-template-columns:120px 1fr;gap:18px;align-items:center}
.flow figcaption{text-align:left;margin:0}
.flow li+li::before{left:54px;top:-20px;transform:rotate(135deg)}
.drawing{height:auto}
.wide{display:none}
.number,.measure{font-size:.84rem}
.measure{min-width:84px}
th,td{padding-right:8px}
.mark{min-width:0;margin-right:4px}
}
@media print{nav,.search,.copy{display:none}}
`;
