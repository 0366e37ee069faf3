"""The style sheet of the documentation pages: one file, no fonts or images from elsewhere."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1c2430; --soft: #5b6675; --line: #e4e1db;
  --sea: #0b6e74; --sea-soft: #e2f0ef; --code: #f4f2ee; --shadow: 0 1px 2px #1c243014;
  --get: #0b6e74; --post: #9a4d00; --put: #5a3fb0; --patch: #5a3fb0; --delete: #b3261e;
  --ok: #1a7f4b; --warn: #9a4d00; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #11161d; --card: #171e27; --ink: #e4e9ef; --soft: #94a1b2; --line: #2a3441;
    --sea: #5ec8c4; --sea-soft: #14302f; --code: #0e131a; --shadow: none;
    --get: #5ec8c4; --post: #f0a860; --put: #b7a4ff; --patch: #b7a4ff; --delete: #ff8a80;
    --ok: #6fd39b; --warn: #f0a860; --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
a { color: var(--sea); text-decoration-thickness: 1px; text-underline-offset: 2px; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--sea); outline-offset: 2px; }
code, pre, .path, .method { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { font-size: .875em; background: var(--code); border-radius: 4px; padding: .1em .35em; }
pre {
  margin: 0; padding: .9rem 1rem; overflow-x: auto; font-size: 13px; line-height: 1.55;
  background: var(--code); border: 1px solid var(--line); border-radius: 8px;
}
pre code { background: none; padding: 0; font-size: inherit; }
.frame { display: grid; grid-template-columns: 17.5rem minmax(0, 1fr); min-height: 100vh; }
nav {
  position: sticky; top: 0; align-self: start; height: 100vh; overflow-y: auto;
  padding: 1.75rem 1.25rem 2rem; border-right: 1px solid var(--line); font-size: 14px;
}
nav .brand { display: block; color: var(--ink); text-decoration: none; margin-bottom: 1.5rem; }
nav .brand b { display: block; font-size: 1.25rem; letter-spacing: -.01em; line-height: 1.3; }
nav .brand span { color: var(--soft); font-size: 13px; }
nav summary, nav h2 {
  margin: 1.1rem 0 .3rem; font-size: 12px; font-weight: 600; letter-spacing: .06em;
  text-transform: uppercase; color: var(--soft);
}
nav ul { list-style: none; margin: 0; padding: 0; }
nav li a {
  display: flex; gap: .5rem; align-items: baseline; padding: .2rem .5rem; margin: 0 -.5rem;
  border-radius: 6px; color: var(--ink); text-decoration: none; line-height: 1.4;
}
nav li a:hover { background: var(--sea-soft); }
nav .method { flex: 0 0 2.6rem; padding: 0; background: none; font-size: 10.5px; }
main { padding: 2.5rem clamp(1rem, 4vw, 3.5rem) 5rem; max-width: 62rem; width: 100%; }
header h1 { margin: 0 0 .25rem; font-size: 2.1rem; letter-spacing: -.02em; line-height: 1.2; }
header .version { color: var(--soft); margin: 0 0 1.5rem; }
header p { max-width: 44rem; }
.group {
  margin: 3rem 0 1rem; font-size: 1.4rem; letter-spacing: -.01em; text-transform: capitalize;
}
article {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  box-shadow: var(--shadow); margin: 0 0 1.25rem; padding: 1.4rem 1.5rem 1.5rem;
}
article h3 { margin: 0 0 .6rem; font-size: 1.1rem; line-height: 1.4; }
article h3 a { color: inherit; text-decoration: none; }
.call { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: 0 0 .9rem; }
.path { font-size: 14.5px; font-weight: 600; overflow-wrap: anywhere; }
.path i { font-style: normal; color: var(--sea); }
.method { font-size: 12px; font-weight: 700; letter-spacing: .03em; }
.call .method { border: 1px solid currentColor; border-radius: 6px; padding: .05rem .45rem; }
.get { color: var(--get); } .post { color: var(--post); } .put { color: var(--put); }
.patch { color: var(--patch); } .delete { color: var(--delete); }
.who {
  margin-left: auto; font-size: 12.5px; color: var(--soft); border: 1px solid var(--line);
  border-radius: 999px; padding: .05rem .7rem; white-space: nowrap;
}
.who code { background: none; padding: 0; color: var(--ink); }
.text { max-width: 46rem; } .text p { margin: 0 0 .7rem; }
h4 {
  margin: 1.4rem 0 .45rem; font-size: 12px; letter-spacing: .06em; text-transform: uppercase;
  color: var(--soft); font-weight: 600;
}
h4 code { text-transform: none; letter-spacing: 0; font-weight: 400; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 14px; line-height: 1.45; }
td { padding: .45rem .9rem .45rem 0; border-top: 1px solid var(--line); vertical-align: top; }
td:last-child { padding-right: 0; }
td.name { white-space: nowrap; width: 1%; }
td.name code { background: none; padding: 0; font-weight: 600; color: var(--ink); }
td.name .deep { color: var(--soft); font-weight: 400; }
td.kind { color: var(--soft); width: 34%; }
td.kind em { font-style: normal; color: var(--warn); font-size: 12px; }
.status { font-variant-numeric: tabular-nums; font-weight: 600; }
.s2, .s3 { color: var(--ok); } .s4 { color: var(--warn); } .s5 { color: var(--bad); }
details > summary { cursor: pointer; }
article details { margin-top: 1.2rem; }
article details > summary { font-size: 14px; color: var(--sea); width: fit-content; }
article details > *:not(summary) { margin-top: .6rem; }
article td details { margin: 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: 14px; }
.menu { display: none; }
@media (max-width: 60rem) {
  .frame { display: block; }
  nav { display: none; }
  .menu { display: block; border-bottom: 1px solid var(--line); padding: .8rem 1rem; }
  .menu > summary { font-weight: 600; }
  .menu nav { display: block; position: static; height: auto; border: 0; padding: .5rem 0 0; }
  .menu nav .brand { display: none; }
  main { padding-top: 1.5rem; }
  .who { margin-left: 0; }
}
@media (max-width: 40rem) {
  body { font-size: 15px; }
  header h1 { font-size: 1.7rem; }
  article { padding: 1.1rem 1rem 1.2rem; border-radius: 10px; }
  table, tbody, tr, td { display: block; width: auto !important; }
  tr { border-top: 1px solid var(--line); padding: .45rem 0; }
  td { border: 0; padding: .05rem 0; white-space: normal !important; }
}
@media print { nav, .menu { display: none; } .frame { display: block; } }
"""
