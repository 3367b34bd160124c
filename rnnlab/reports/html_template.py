"""The frame and style of the HTML report: one column, rows as blocks on a narrow screen, all unfolded in print."""

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title><style>
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 68rem; margin: 2.5rem auto;
  padding: 0 1.25rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
.answer { font-size: 1.2rem; border-left: 4px solid #0072b2; padding-left: 1rem; margin: 0 0 .75rem; }
.smoke { border-color: #d55e00; background: #fff0e5; padding: .5rem 1rem; font-weight: 600; }
.facts, .caption, figcaption { color: #555; font-size: .875rem; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.3; font-variant-numeric: tabular-nums;
  margin: .5rem 0 1.5rem; width: 100%; }
.caption { line-height: 1.3; margin: 1.5rem 0 0; }
th, td { padding: .3rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { vertical-align: bottom; border-bottom: 1.5px solid #333; font-weight: 600; }
th:first-child, .text { text-align: left; }
th:first-child { padding-left: 0; }
tbody th { font-weight: 500; min-width: 7rem; }
.task th { font-weight: 700; padding-top: .75rem; }
td small { display: block; color: #595959; white-space: nowrap; }
.claims td, .claims th { text-align: left; }
.claims tbody th { width: 32%; }
.met, .unmet, .open { color: #fff; border-radius: .25rem; padding: 0 .4em; margin-right: .4em; white-space: nowrap; }
.met { background: #00734f; }
.unmet { background: #b34700; }
.open { background: #666; }
mark { background: #fff0b3; padding: 0 .2em; }
figure { margin: 1.5rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .875rem; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .35rem 0; }
@media screen and (max-width: 40rem) {
  body { margin: 1rem auto; padding: 0 1rem; }
  h1 { font-size: 1.3rem; }
  .answer { font-size: 1.05rem; }
  thead { display: none; }
  table, tbody, tr, th, td { display: block; }
  tbody th, .claims tbody th { border: 0; padding: .75rem 0 .1rem; font-weight: 700; width: auto; }
  .task th { font-size: 1rem; border-bottom: 1.5px solid #333; }
  td, .claims td { display: flex; white-space: normal; justify-content: space-between; gap: 1rem; padding: .2rem 0;
    border-color: #eee; }
  td::before { content: attr(data-label); color: #555; text-align: left; }
  td small { display: inline; white-space: normal; }
  td > span { flex: 0 0 auto; max-width: 70%; overflow-wrap: anywhere; text-align: right; }
  .claims td { justify-content: flex-start; }
  .claims td::before { flex: 0 0 5rem; }
  .claims td > span { flex: 1 1 0; text-align: left; }
  dl { display: block; }
  dd { margin-bottom: .4rem; } }
@media print { html { font-size: 11px; } body { margin: 0; max-width: none; } th, td { padding: .2rem; }
  img { max-height: 8in; width: auto; }
  tr { break-inside: avoid; } summary { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } }
</style></head>
<body>
$body
</body></html>
""")
