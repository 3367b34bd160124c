"""One HTML page that holds a report whole: the answer, its figure, table and claims are open, the rest is folded."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from types import MappingProxyType

from rnnlab.reports.claims import COLUMNS as CLAIMS
from rnnlab.reports.claims import WORDS
from rnnlab.reports.definitions import definitions
from rnnlab.reports.folding import apart, by_task
from rnnlab.reports.html_template import PAGE
from rnnlab.reports.sentences import other_code
from rnnlab.reports.style import DPI, png_data_uri
from rnnlab.reports.tables import Table
from rnnlab.runs.progress import clock, counted
from rnnlab.runs.results import Results
from rnnlab.settings.resolve import varied

VERDICTS = {WORDS[True]: "met", WORDS[False]: "unmet", WORDS[None]: "open"}  # by word, the class that colours it
WIDE = 8  # columns, above which a table is shown in several
LONG = 40  # rows, above which the main table is folded


def html_page(
    results: Results,
    answer: str,
    tables: Sequence[Table],
    pictures: Mapping[str, tuple[bytes, str]],
    own: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """One page that needs no other file and no network.

    Args:
      results: what the page is about.
      answer: to the question, in plain text.
      tables: the main one first; claims are told by their columns.
      pictures: (PNG, caption) by name, the main one first.
      own: an experiment's own parts, HTML by title.
    """
    claims = [table for table in tables if tuple(table.columns) == CLAIMS]
    others = [table for table in tables if tuple(table.columns) != CLAIMS]
    figures = [_figure(name, *picture) for name, picture in pictures.items()]
    titles = [f"Figure: {_first_words(caption or name)}" for name, (_, caption) in pictures.items()]
    diverged = [f"{trial.arm}, seed {trial.seed}: {trial.reason}" for trial in results.trials if trial.diverged]
    parts = [
        f"<h1>{escape(results.question)}</h1>",
        f'<p class="answer{"" if results.judged else " smoke"}">{escape(answer)}</p>',
        f'<p class="facts">{escape(_facts(results))}</p>',
        f'<p class="facts"><mark>{escape(changed)}</mark></p>' if (changed := other_code(results)) else "",
        *figures[:1],
        *(_table(t) if len(t.rows) <= LONG else _folded(f"{len(t.rows)} arms", _table(t)) for t in others[:1]),
        *map(_claims, claims),
        "<h2>More</h2>",
        *map(_folded, titles[1:], figures[1:]),
        *map(_folded, own, own.values()),
        *(_folded(f"Table: {_first_words(table.caption)}", _table(table)) for table in others[1:]),
        _folded(f"{counted(len(diverged), 'trial')} diverged", _list(diverged)) if diverged else "",
        _folded("What the words mean", _pairs(definitions(results.fraction))),
        _folded("Settings", _settings(results.settings)),
        _folded("Where it ran", _pairs(results.environment)),
        f"<h2>To repeat it</h2><pre>{escape(results.command)}</pre>",
    ]
    return PAGE.substitute(title=escape(results.experiment), body="\n".join(filter(None, parts)))


def _facts(results: Results) -> str:
    counts = ((len(results.tasks), "task"), (len(results.arms), "arm"), (len(results.trials), "trial"))
    said = ", ".join(counted(number, noun) for number, noun in counts)
    return f"{results.experiment}, {results.tier} tier: {said}, {clock(results.seconds)}"


def _first_words(caption: str) -> str:
    """What is shown, of a caption that goes on to say how."""
    return re.split(r"[.;:](?:\s|$)|\s\(", caption, maxsplit=1)[0]


def _number(text: str) -> str:
    estimate, detail = map(escape, apart(text))
    return f"{estimate} <small>{detail}</small>" if detail else estimate


def _badge(text: str) -> str:
    """A claim's verdict, its word in colour: `met`, or `not judged: why`."""
    word, _, why = text.partition(":")
    return f'<span class="{VERDICTS.get(word, "open")}">{escape(word)}</span>{escape(why)}'


def _table(table: Table, cell: Mapping[str, Callable[[str], str]] | None = None, kind: str = "") -> str:
    """A table whose rows are blocks on a narrow screen, each cell with its column's name; `cell` shows a column's.

    A wide one is shown as several, with the rows' names in each.
    """
    if len(table.columns) > WIDE:
        starts = range(1, len(table.columns), WIDE - 1)
        of = [_columns(table, [0, *range(at, min(at + WIDE - 1, len(table.columns)))]) for at in starts]
        return "".join(_table(part, cell, kind) for part in of)
    shows = [(cell or {}).get(column, _number) for column in table.columns]
    sides = ["" if number else ' class="text"' for number in table.numeric]
    labels = [escape(column) for column in table.columns]
    heads = "".join(f'<th scope="col"{side}>{label}</th>' for label, side in zip(labels, sides, strict=True))
    bodies = []
    for task, rows in by_task(table.columns, table.rows):
        head = f'<tr class="task"><th scope="rowgroup" colspan="{len(labels)}">{escape(task)}</th></tr>'
        shown = []
        for row in rows:
            columns = list(zip(labels, sides, shows, row, strict=True))[1:]
            cells = (f'<td data-label="{at}"{side}><span>{show(text)}</span></td>' for at, side, show, text in columns)
            shown.append(f'<tr><th scope="row">{escape(row[0])}</th>{"".join(cells)}</tr>')
        bodies.append(f"<tbody>{head if task else ''}{''.join(shown)}</tbody>")
    caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
    return f'{caption}<div class="{kind}"><table><thead><tr>{heads}</tr></thead>{"".join(bodies)}</table></div>'


def _columns(table: Table, kept: Sequence[int]) -> Table:
    """Some of its columns; the caption stands above the first of them."""
    caption = table.caption if 1 in kept else ""
    return Table(caption, [table.columns[i] for i in kept], [[row[i] for i in kept] for row in table.rows])


def _claims(table: Table) -> str:
    counts = Counter(row[-1].partition(":")[0] for row in table.rows)
    said = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
    as_words = dict.fromkeys(CLAIMS, escape) | {"verdict": _badge}
    return f"<h2>Claims: {said}</h2>{_table(table, as_words, 'claims')}"


def _figure(name: str, png: bytes, caption: str) -> str:
    inches = struct.unpack(">I", png[16:20])[0] / DPI
    text = escape(caption or name)
    image = f'<img src="{png_data_uri(png)}" alt="{escape(name)}" style="width:{1.3 * inches:.2f}in">'
    return f'<figure id="{escape(name)}">{image}<figcaption>{text}</figcaption></figure>'


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _settings(settings: Mapping[str, Mapping[str, str]]) -> str:
    """What differs between arms as a table, what differs from most arms marked; then what is common to all."""
    varying = varied(settings)
    usual = {p: Counter(v[p] for v in settings.values() if p in v).most_common(1)[0][0] for p in varying}

    def marked(path: str) -> Callable[[str], str]:
        return lambda value: f"<mark>{escape(value)}</mark>" if value and value != usual[path] else escape(value)

    rows = [[arm, *(values.get(path, "") for path in varying)] for arm, values in settings.items()]
    table = _table(Table("", ["arm", *varying], rows), {path: marked(path) for path in varying}) if varying else ""
    rest: dict[str, list[str]] = {}  # paths of one value, with the arms that have them
    for arm, values in settings.items():
        for path in values.keys() - set(varying):
            rest.setdefault(path, []).append(arm)
    one = {path: settings[names[0]][path] for path, names in sorted(rest.items())}
    common = {path: value for path, value in one.items() if len(rest[path]) == len(settings)}
    some = {path: f"{value} ({', '.join(rest[path])})" for path, value in one.items() if path not in common}
    said = f"<h3>{counted(len(common), 'setting')} common to all arms</h3>{_pairs(common)}"
    return f"{table}{said}" + (f"<h3>Of some arms alone</h3>{_pairs(some)}" if some else "")


def _pairs(pairs: Mapping[str, object]) -> str:
    rows = (f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in pairs.items())
    return f"<dl>{''.join(rows)}</dl>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
