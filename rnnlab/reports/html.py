"""One HTML page that holds a report whole: the answer, the main figure and table, the claims; all else is folded."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from rnnlab.reports.claims import COLUMNS as CLAIMS
from rnnlab.reports.definitions import definitions
from rnnlab.reports.style import DPI, png_data_uri
from rnnlab.reports.tables import Table
from rnnlab.runs.results import Results
from rnnlab.settings.resolve import varied


def html_page(results: Results, answer: str, tables: Sequence[Table], pictures: Mapping[str, tuple[bytes, str]]) -> str:
    """One page that needs no other file and no network.

    Args:
      results: of the run.
      answer: to its question.
      tables: the main one first, then the claims where there are any.
      pictures: (PNG, caption) by name, the main one first.
    """
    first, *others = pictures.items() if pictures else [None]
    told = [table for table in tables[1:] if tuple(table.columns) == CLAIMS]
    rest = [table for table in tables[1:] if table not in told]
    minutes, seconds = divmod(round(results.seconds), 60)
    facts = f"{results.experiment}, {results.tier} tier: {len(results.arms)} arms, {len(results.trials)} trials, "
    facts += f"{f'{minutes} min ' * bool(minutes)}{seconds} s of computing."
    diverged = [f"{t.arm}, seed {t.seed}: {t.reason}" for t in results.trials if t.diverged]
    parts = [
        f"<h1>{escape(results.question)}</h1>",
        f'<p class="{"answer" if results.judged else "answer smoke"}">{escape(answer)}</p>',
        f'<p class="facts">{escape(facts)} To repeat it: <code>{escape(results.command)}</code></p>',
        _figure(first[0], *first[1]) if first else "",
        _table(tables[0], "main") if tables else "",
        "".join(_table(table, "claims") for table in told),
        "<h2>More figures</h2>" * bool(others),
        *(_folded(_short(caption), _figure(name, png, caption)) for name, (png, caption) in others),
        "<h2>Details</h2>",
        _folded(f"{len(diverged)} trials diverged", _list(diverged)) if diverged else "",
        *(_folded(_short(table.caption), f'<div class="wide">{_table(table, "all")}</div>') for table in rest),
        _folded("What the words mean", _pairs(definitions(results.fraction))),
        _folded("Settings", _settings(results.settings)),
        _folded("Where it ran", _pairs(results.environment)),
    ]
    return _PAGE.substitute(title=escape(results.experiment), body="\n".join(filter(None, parts)))


def _short(caption: str) -> str:
    """A caption's first sentence, which names what is folded."""
    return re.split(r"(?<=[a-z)])[.:;] ", caption, maxsplit=1)[0].rstrip(".")


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _table(table: Table, kind: str) -> str:
    """On a narrow screen each row becomes a block in which cells are named, by `data-head`."""
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    rows = []
    for name, *cells in table.rows:
        named = zip(table.columns[1:], cells, strict=True)
        shown = "".join(f'<td data-head="{escape(head)}">{_cell(cell, kind)}</td>' for head, cell in named)
        rows.append(f'<tr><th scope="row">{escape(name).replace("/", "/<wbr>")}</th>{shown}</tr>')
    caption = f"<caption>{escape(table.caption)}</caption>"
    body = f"{caption}<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<table class="{kind}">{body}</table>'


def _cell(text: str, kind: str) -> str:
    """An estimate above its interval; a verdict in colour."""
    if kind == "claims":
        word = next((w for w in ("not met", "not judged", "met") if text == w or text.startswith(f"{w}: ")), "")
        return (
            f'<span class="{word.replace(" ", "-")}">{escape(text)}</span>' if word else f"<span>{escape(text)}</span>"
        )
    estimate, space, detail = re.match(r"(.*?)( (?=[\[(])|$$)(.*)".replace("$$", "$"), escape(text), re.DOTALL).groups()
    return f"<span>{estimate}{f'<small>{detail}</small>' if space else ''}</span>"


def _figure(name: str, png: bytes, caption: str) -> str:
    inches = struct.unpack(">I", png[16:20])[0] / DPI
    text = escape(caption or name)
    image = f'<img src="{png_data_uri(png)}" alt="{text}" style="width:{1.3 * inches:.2f}in">'
    return f'<figure id="{escape(name)}">{image}<figcaption>{text}</figcaption></figure>'


def _settings(settings: Mapping[str, Mapping[str, str]]) -> str:
    """What differs between arms as a table, what differs from most arms marked; then what is common to all."""
    varying = varied(settings)
    usual = {p: Counter(v[p] for v in settings.values() if p in v).most_common(1)[0][0] for p in varying}
    rows = []
    for arm, values in settings.items():
        cells = [(values.get(path, ""), values.get(path, "") != usual[path]) for path in varying]
        shown = "".join(f"<td>{f'<mark>{escape(v)}</mark>' if odd and v else escape(v)}</td>" for v, odd in cells)
        rows.append(f'<tr><th scope="row">{escape(arm)}</th>{shown}</tr>')
    heads = "".join(f'<th scope="col">{escape(path)}</th>' for path in ["arm", *varying])
    common = {path: value for values in settings.values() for path, value in values.items() if path not in varying}
    table = f'<table class="text"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    shown = f'<div class="wide">{table}</div>' if varying else ""
    return f"{shown}<p>{len(common)} settings common to all arms:</p>{_pairs(common)}"


def _pairs(pairs: Mapping[str, object]) -> str:
    rows = (f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in pairs.items())
    return f"<dl>{''.join(rows)}</dl>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title><style>
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 68rem; margin: 2.5rem auto;
  padding: 0 1.25rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid #ccc; }
.answer { font-size: 1.2rem; border-left: 4px solid #0072b2; padding-left: 1rem; margin: 0 0 .75rem; }
.smoke { border-color: #d55e00; background: #fff4e5; padding: .5rem 1rem; }
.facts, caption, figcaption { color: #555; font-size: .875rem; }
code { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .8125rem; line-height: 1.3; font-variant-numeric: tabular-nums;
  margin: 1.5rem 0; }
.main, .claims { width: 100%; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { padding: .35rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { vertical-align: bottom; border-bottom: 1.5px solid #333; font-weight: 600; }
th:first-child { padding-left: 0; }
th:first-child, .text td, .text th, .claims td, .claims th { text-align: left; }
tbody th { font-weight: 500; }
td small { display: block; color: #666; white-space: nowrap; }
.met { color: #00654b; font-weight: 600; }
.not-met { color: #b34700; font-weight: 600; }
.not-judged { color: #666; }
mark { background: #fff0b3; padding: 0 .2em; }
figure { margin: 1.5rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: fit-content(14rem) 1fr; gap: .2rem 1rem; font-size: .875rem; }
dt { font-weight: 600; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .3rem 0; }
@media (max-width: 640px) { .main, .claims, .main tbody, .claims tbody, .main tr, .claims tr, .main caption,
  .claims caption { display: block; }
  .main thead, .claims thead { display: none; }
  .main tr, .claims tr { padding: .5rem 0; border-bottom: 1px solid #bbb; }
  .main th, .claims th { display: block; border: 0; padding: 0; text-align: left; font-weight: 600; }
  .main td, .claims td { display: grid; grid-template-columns: 45% 1fr; gap: .75rem; border: 0; padding: .1rem 0;
    text-align: left; }
  .main td::before, .claims td::before { content: attr(data-head); color: #555; }
  td small { white-space: normal; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print { html { font-size: 11px; } body { margin: 0; max-width: none; } .wide { overflow: visible; }
  table { font-size: 8px; } th, td { padding: .2rem; } img { max-height: 8in; width: auto; } tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; } }
</style></head>
<body>
$body
</body></html>
""")
