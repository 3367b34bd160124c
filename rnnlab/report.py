"""From results to what a reader sees: the table of reach, and a folder with one self-contained page."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from rnnlab import stats
from rnnlab.figures import by_task, settled
from rnnlab.settings import varied
from rnnlab.style import DPI, png_data_uri, save
from rnnlab.tables import Table, csv, format_interval, format_number, latex, markdown
from rnnlab.writers import write_whole


class Verdict(NamedTuple):
    """What an experiment's report function returns; a figure's label (`figure.set_label`) is its caption."""

    sentence: str  # it follows from the numbers, also where they contradict the textbook
    tables: Sequence[Table]
    figures: Mapping[str, Figure]  # by file name, without an ending


def reach_table(results: Mapping[str, Any]) -> Table:
    """How far back the loss is felt and whether the task is learned: a row an arm, an interval over its trials.

    Rates are means with Student's interval, success a proportion with Wilson's, all else medians with theirs
    (`rnnlab.stats`). A diverged trial counts as one that did not learn; its state after training is left out.
    """
    columns = {
        "trials": lambda ts, arm: _trials(ts),
        "learned": lambda ts, arm: _learned(ts),
        "decay of dL/dh at init (nats/step)": lambda ts, arm: _rate(ts, "h"),
        "decay along the cell path at init (nats/step)": lambda ts, arm: _rate(ts, "c cell path"),
        "half-life of dL/dh at init (steps)": lambda ts, arm: _half_life(ts),
        "horizon at init (steps)": lambda ts, arm: _horizon(ts, "init"),
        "horizon after training (steps)": lambda ts, arm: _horizon([t for t in ts if t["steps"]], "trained"),
        "held-out loss": lambda ts, arm: _final(ts, "loss"),
        "held-out accuracy": lambda ts, arm: _final(ts, "accuracy"),
        "chance loss": lambda ts, arm: format_number(float(results["chance"][arm])),
    }
    arms: dict[str, list[Any]] = {}
    for trial in results["trials"]:
        arms.setdefault(trial["arm"], []).append(trial)
    rows = [[arm] + [cell(trials, arm) for cell in columns.values()] for arm, trials in arms.items()]
    caption = f"Reach by arm; a horizon is the largest lag whose dL/dh is above {results['fraction']:g} of lag 0."
    rules: dict[str, list[str]] = {}
    for task, rule in results["rule"].items():
        rules.setdefault(rule, []).append(task)
    if rules:
        caption += " Learned: " + "; ".join(f"{rule} ({', '.join(tasks)})" for rule, tasks in rules.items()) + "."
    if any(len(trials) > 1 for trials in arms.values()):
        caption += " In brackets: 95 % intervals over trials, for a median of up to 5 trials their range."
    return Table(caption, ["arm", *columns], rows)


def _trials(trials: Sequence[Any]) -> str:
    seeds = [str(trial["seed"]) for trial in trials if trial["status"] == "diverged"]
    named = f" ({len(seeds)} diverged: seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})" if seeds else ""
    return f"{len(trials)}{named}"


def _learned(trials: Sequence[Any]) -> str:
    if not any(trial["steps"] for trial in trials):
        return "not trained"
    learned = sum(trial["status"] == "learned" for trial in trials)
    rate = stats.proportion(learned, len(trials))
    return f"{learned}/{len(trials)} [{rate.low:.2f}, {rate.high:.2f}]"


def _rate(trials: Sequence[Any], name: str) -> str:
    reached = [t["reach"]["init"][name] for t in settled(trials, "init") if name in t["reach"]["init"]]
    return format_interval(stats.mean([r["decay_rate"] for r in reached]), 2) if reached else "none"


def _half_life(trials: Sequence[Any]) -> str:
    life = stats.median([t["reach"]["init"]["h"]["half_life"] for t in settled(trials, "init")])
    if life.estimate == math.inf:
        return f"does not fall [{format_number(life.low, 2)}, inf]" if life.low < math.inf else "does not fall"
    return format_interval(life, 2)


def _horizon(trials: Sequence[Any], when: str) -> str:
    """The median horizon; ">=" stands before what the length of the sequence cut off."""
    reached = [t["reach"][when]["h"] for t in settled(trials, when)]
    seen = max((r["horizon"] for r in reached if not r["censored"]), default=-1)
    estimate, low, high, n = stats.median([r["horizon"] for r in reached])
    if n == 0:
        return "n/a"
    middle, *ends = (f"{'>= ' if value > seen else ''}{value:g}" for value in (estimate, low, high))
    return middle if n == 1 or low > seen else f"{middle} [{', '.join(ends)}]"


def _final(trials: Sequence[Any], name: str) -> str:
    return format_interval(stats.median([t["eval"][name] for t in trials if t["status"] != "diverged" and t["eval"]]))


def trials_table(results: Mapping[str, Any]) -> Table:
    """One row a trial, one number a cell: what a statistics program reads."""
    rows = []
    for trial in results["trials"]:
        row = {name: trial[name] for name in ("arm", "seed", "status", "steps", "learned_at", "sequences")}
        row |= {f"held-out {name}": value for name, value in trial["eval"].items()}
        for when, reached in trial["reach"].items():
            for name, values in reached.items():
                row |= {f"{when} {name} {quantity}": value for quantity, value in values.items()}
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return Table("Trials.", columns, [[str(row.get(column, "")) for column in columns] for row in rows])


def definitions(fraction: float) -> dict[str, str]:
    """What each quantity of a report is, in one line each."""
    return {
        "lag k": "distance back from the step that carries the loss, in steps: k = T-1-t.",
        "dL/dh, dL/dc": "the adjoints: gradients of the loss with respect to the state h (the cell state c) at step t; "
        "their norm is taken for each example, then averaged over examples as a logarithm.",
        "cell path": "the part of dL/dc that flows from c to c alone (for an LSTM the product of its forget gates).",
        "decay": "least-squares slope of the log-norm over lags, nats per step: negative vanishes, positive explodes.",
        "half-life": "steps in which that slope halves the norm: ln 2 / -decay.",
        "horizon": f"the largest lag whose norm is above {fraction:g} of lag 0's; >= where the sequence ends first.",
        "learned": "trials that met the task's own stop rule at a held-out evaluation, all on the same sequences "
        "(the held-out figures are those of the last one, which ended a trial that learned); the interval is Wilson's.",
        "chance": "the loss that the task's source gives for a predictor without memory of the input.",
        "diverged": "the loss ceased to be a finite number; such a trial has not learned, and nothing is measured of "
        "its state after training.",
        "intervals": "95 % over trials: Student's t for decay, order statistics for medians (the range of up to 5).",
    }


def write(results: Mapping[str, Any], verdict: Verdict, folder: Path) -> dict[str, bytes]:
    """Writes figures/*.png and *.pdf, table.md, .tex and .csv (then table_2, ...), and report.html.

    Each file is replaced whole; the page comes last, so it never shows what is not there. Returns the figures' PNGs.
    """
    pngs = {name: save(figure, folder / "figures", name) for name, figure in verdict.figures.items()}
    forms: dict[str, Callable[[Table], str]] = {"md": markdown, "tex": latex, "csv": csv}
    for number, table in enumerate(verdict.tables, start=1):
        name = "table" if number == 1 else f"table_{number}"
        for ending, form in forms.items():
            write_whole(folder / f"{name}.{ending}", form(table).encode())
    write_whole(folder / "trials.csv", csv(trials_table(results)).encode())
    write_whole(folder / "report.html", html_page(results, verdict, pngs).encode())
    return pngs


def html_page(results: Mapping[str, Any], verdict: Verdict, pngs: Mapping[str, bytes]) -> str:
    """One page that needs no other file and no network; `pngs` are the verdict's figures by name."""
    trials = results["trials"]
    diverged = [f"{t['arm']}, seed {t['seed']}: {t['reason']}" for t in trials if t["status"] == "diverged"]
    minutes, seconds = divmod(round(results["seconds"]), 60)
    tasks = by_task(results)
    facts = f"{results['experiment']}, tier {results['tier']}: {len(tasks)} tasks, {len(results['settings'])} arms, "
    facts += f"trials {len(trials)}, {f'{minutes} min ' * bool(minutes)}{seconds} s"
    parts = [
        f"<h1>{escape(results['question'])}</h1>",
        f'<p class="verdict">{escape(verdict.sentence)}</p>',
        f'<p class="facts">{escape(facts)}</p>',
        *map(_html_table, verdict.tables),
        "<h3>Diverged</h3>" + _list(diverged) if diverged else "",
        *(_html_figure(name, png, verdict.figures[name].get_label()) for name, png in pngs.items()),
        "<h2>What the words mean</h2>" + _pairs(definitions(results["fraction"])),
        "<h2>Settings</h2>" + _html_settings(results["settings"]),
        "<h2>Where it ran</h2>" + _pairs(results["environment"]),
        f"<h2>To repeat it</h2><pre>{escape(results['command'])}</pre>",
    ]
    return _PAGE.substitute(title=escape(results["experiment"]), body="\n".join(filter(None, parts)))


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


def _html_figure(name: str, png: bytes, caption: object) -> str:
    inches = struct.unpack(">I", png[16:20])[0] / DPI
    text = escape(str(caption or name))
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
