"""One HTML page that holds a report whole: verdict, tables, pictures, what the words mean, settings."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from rnnlab.reports.figures import by_task
from rnnlab.reports.style import DPI, png_data_uri
from rnnlab.reports.tables import Table
from rnnlab.settings.resolve import varied

COLUMNS = ("dL/dh, dL/dc", "cell path", "decay", "half-life", "horizon", "chance")  # words that a terminal explains too


def html_page(
    results: Mapping[str, Any],
    sentence: str,
    tables: Sequence[Table],
    pictures: Mapping[str, tuple[bytes, str]],
) -> str:
    """One page that needs no other file and no network; `pictures` are (PNG, caption) by name."""
    trials = results["trials"]
    diverged = [f"{t['arm']}, seed {t['seed']}: {t['reason']}" for t in trials if t["status"] == "diverged"]
    minutes, seconds = divmod(round(results["seconds"]), 60)
    tasks = by_task(results)
    facts = f"{results['experiment']}, tier {results['tier']}: {len(tasks)} tasks, {len(results['settings'])} arms, "
    facts += f"trials {len(trials)}, {f'{minutes} min ' * bool(minutes)}{seconds} s"
    parts = [
        f"<h1>{escape(results['question'])}</h1>",
        f'<p class="verdict">{escape(sentence)}</p>',
        f'<p class="facts">{escape(facts)}</p>',
        *map(_html_table, tables),
        "<h3>Diverged</h3>" + _list(diverged) if diverged else "",
        *(_html_figure(name, png, caption) for name, (png, caption) in pictures.items()),
        "<h2>What the words mean</h2>" + _pairs(definitions(results["fraction"])),
        "<h2>Settings</h2>" + _html_settings(results["settings"]),
        "<h2>Where it ran</h2>" + _pairs(results["environment"]),
        f"<h2>To repeat it</h2><pre>{escape(results['command'])}</pre>",
    ]
    return _PAGE.substitute(title=escape(results["experiment"]), body="\n".join(filter(None, parts)))


def definitions(fraction: float) -> dict[str, str]:
    """What each quantity of a report is, in one line each."""
    return {
        "lag k": "distance back from the step that carries the loss, in steps: k = T-1-t.",
        "dL/dh, dL/dc": "the adjoints: gradients of the loss with respect to the state h (the cell state c) at step t; "
        "their norm is taken for each example, then averaged over examples as a logarithm.",
        "cell path": "the part of dL/dc that flows from c to c alone (for an LSTM the product of its forget gates).",
        "decay": "least-squares slope of the log-norm over lags, nats per step: negative vanishes, positive explodes.",
        "half-life": "steps in which that slope halves the norm: ln 2 / -decay.",
        "horizon": f"how far back the loss reaches: the largest lag whose norm is above {fraction:g} of lag 0's; >= "
        "where the sequence ends first.",
        "learned": "trials that met the stop rule that the caption states; a rule on held-out data is looked at in "
        "every evaluation, all on the same sequences, and the held-out figures are those of the last one, which ended "
        "a trial that learned; the interval is Wilson's.",
        "chance": "the loss that the task's source gives for a predictor without memory of the input.",
        "solved by guessing weights": "networks of the arm's shape with all weights drawn from U[-100, 100] that meet "
        "the task's rule on 64 sequences, of all drawn (Schmidhuber & Hochreiter 1996).",
        "diverged": "the loss ceased to be a finite number, or went above a bound; such a trial has not learned, and "
        "nothing is measured of its state after training.",
        "intervals": "95 % over trials: Student's t for decay, order statistics for medians (the range of up to 5).",
    }


def glossary(tables: Sequence[Table], fraction: float) -> list[str]:
    """For a terminal: a line for each word of COLUMNS that heads a column, below one that says where the others are."""
    heads = " ".join(column for table in tables for column in table.columns)
    found = {word: says for word, says in definitions(fraction).items() if word in COLUMNS}
    lines = [f"  {word}: {says}" for word, says in found.items() if any(part in heads for part in word.split(", "))]
    return ["Words (more in report.html):", *lines] if lines else []


def _html_table(table: Table) -> str:
    def cell(text: str) -> str:
        estimate, space, detail = re.match(r"(.*?)( (?=[\[(])|$)(.*)", escape(text), re.DOTALL).groups()
        return f"<td>{estimate}{f'<small>{detail}</small>' if space else ''}</td>"

    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    names = [escape(row[0]).replace("/", "/<br>") for row in table.rows]  # the task above, the cell below
    cells = ["".join(map(cell, row[1:])) for row in table.rows]
    rows = [f'<tr><th scope="row">{name}</th>{row}</tr>' for name, row in zip(names, cells, strict=True)]
    caption = f"<caption>{escape(table.caption)}</caption>"
    return (
        f'<div class="wide"><table>{caption}<thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _html_figure(name: str, png: bytes, caption: str) -> str:
    inches = struct.unpack(">I", png[16:20])[0] / DPI
    text = escape(caption or name)
    image = f'<img src="{png_data_uri(png)}" alt="{text}" style="width:{1.3 * inches:.2f}in">'
    return f'<figure id="{escape(name)}">{image}<figcaption>{text}</figcaption></figure>'


def _html_settings(settings: Mapping[str, Mapping[str, str]]) -> str:
    """What differs between arms as a table, what differs from most arms marked; what is common to all is folded."""
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
    folded = f"<details><summary>{len(common)} settings common to all arms</summary>{_pairs(common)}</details>"
    return (f'<div class="wide">{table}</div>' if varying else "") + folded


def _pairs(pairs: Mapping[str, str]) -> str:
    rows = (f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in pairs.items())
    return f"<dl>{''.join(rows)}</dl>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title><style>
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 68rem; margin: 2.5rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
.verdict { font-size: 1.2rem; border-left: 4px solid #0072b2; padding-left: 1rem; margin: 0 0 .75rem; }
.facts, caption, figcaption { color: #555; font-size: .875rem; }
.wide { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: .8125rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { padding: .35rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { vertical-align: bottom; border-bottom: 1.5px solid #333; font-weight: 600; }
th:first-child { padding-left: 0; white-space: nowrap; }
th:first-child, .text td, .text th { text-align: left; }
tbody th { font-weight: 500; }
td small { display: block; color: #666; white-space: nowrap; }
mark { background: #fff0b3; padding: 0 .2em; }
figure { margin: 2rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .875rem; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; }
@media print { html { font-size: 11px; } body { margin: 0; max-width: none; } .wide { overflow: visible; }
  table { font-size: 8px; } th, td { padding: .2rem; } img { max-height: 8in; width: auto; } tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; } }
</style></head>
<body>
$body
</body></html>
""")
