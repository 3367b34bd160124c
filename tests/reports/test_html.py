"""The page answers first, is whole and alone, and takes nothing that was said for markup."""

from html.parser import HTMLParser

import pytest
from made_results import CELLS, TASKS, made
from matplotlib.figure import Figure

from rnnlab.reports.definitions import glossary
from rnnlab.reports.html import WIDE, html_page
from rnnlab.reports.style import rendered
from rnnlab.reports.tables import Table
from rnnlab.runs.results_file import results_from

ANSWER = "It reaches <200 & more>."
ARMS = [f"{task}/{cell}" for task in TASKS for cell in CELLS]
MAIN = Table("Arms.", ["arm", "learned", "horizon at init (steps)"], [[a, "3/3 [0.44, 1.00]", ">= 199"] for a in ARMS])
CLAIMS = Table(
    "Expected and measured.",
    ["claim", "source", "expected", "measured", "verdict"],
    [
        ["it vanishes", "Hochreiter 1991", "below 10", "3", "met"],
        ["it reaches", "Tallec & Ollivier 2018", "200", "12", "not met"],
        ["it learns", "table 7", "10/10", "9/10", "not judged: other <protocol>"],
    ],
)
ALL = Table(
    "All columns: of every arm.", ["arm", *(f"column {n}" for n in range(12))], [[a, *"0123456789ab"] for a in ARMS]
)


class Page(HTMLParser):
    """Collects tags, addresses and text, and what is folded; every element that is opened is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.labels, self.text, self.folded = [], [], [], [], "", ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.labels += [value for name, value in attrs if name == "data-label"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["style"]:
            return
        if "details" in self.open and self.open[-1] != "summary":
            self.folded += data
        else:
            self.text += data


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    captions = {"flow": "Gradient flow by lag. Solid: dL/dh.", "learning": "Held-out loss: by <update>."}
    return {name: (rendered(Figure((3, 2)))["png"], caption) for name, caption in captions.items()}


def test_the_page_is_whole_and_alone(pictures):
    """It parses, names no address, holds its pictures, and shows what was said with nothing taken for markup."""
    text = html_page(results_from(made()), ANSWER, [MAIN, CLAIMS, ALL], pictures)
    page = Page(text)
    assert "http" not in text and "url(" not in text and "@import" not in text and '<meta charset="utf-8">' in text
    assert len(page.links) == 2 and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe", "b"} & set(page.tags) and page.tags.count("h1") == 1
    results = made()
    expected = [results["question"], ANSWER, results["command"], "2 tasks, 6 arms, 18 trials, 5 min 12 s"]
    expected += ["[0.44, 1.00]", "other <protocol>", "1 trial diverged", "Figure: Held-out loss"]
    assert [piece for piece in expected if piece not in page.text] == []
    folded = ["CPU <2 cores>", "chrono <b>&", "loss is nan at step 600", "1 setting common to all arms", "by <update>"]
    assert [piece for piece in folded if piece not in page.folded] == []
    assert html_page(results_from(made()), ANSWER, [MAIN, CLAIMS, ALL], pictures) == text


def test_the_answer_is_first_and_what_is_not_asked_for_is_folded(pictures):
    """Question, answer, main figure, main table, claims, and how to repeat it are open, in this order; no more is."""
    page = Page(html_page(results_from(made()), ANSWER, [MAIN, CLAIMS, ALL], pictures))
    order = ["From how far back", ANSWER, "Gradient flow by lag", "Arms.", "Claims: 1 met, 1 not met, 1 not judged"]
    places = [page.text.index(piece) for piece in [*order, "More", "To repeat it"]]
    assert places == sorted(places)
    assert "column 11" in page.folded and "column 11" not in page.text and "Table: All columns" in page.text
    assert [page.text.count(f"{task}V") for task in TASKS] == [1, 1]  # a task heads its arms


def test_a_cell_on_a_narrow_screen_says_its_column(pictures):
    """Rows are blocks there, and the header is gone: every cell but a row's name carries its column's."""
    tables = [MAIN, CLAIMS, ALL]
    page = Page(html_page(results_from(made()), ANSWER, tables, {}))
    parts = [
        (table.columns[at : at + WIDE - 1], table.rows)
        for table in tables
        for at in range(1, len(table.columns), WIDE - 1)
    ]
    said = [column for columns, rows in parts for _ in rows for column in columns]
    assert page.labels[: len(said)] == said and page.tags.count("td") == len(page.labels)


def test_a_claim_shows_its_verdict_in_a_word_and_a_colour():
    text = html_page(results_from(made()), ANSWER, [MAIN, CLAIMS], {})
    assert '<span class="met">met</span>' in text and '<span class="unmet">not met</span>' in text
    assert '<span class="open">not judged</span> other &lt;protocol&gt;' in text


def test_a_smoke_run_is_marked_as_one():
    """Its numbers mean nothing: the answer that says so is set off, and without claims nothing is said of any."""
    smoke = html_page(results_from(made() | {"tier": "smoke"}), "It means nothing.", [MAIN], {})
    assert '<p class="answer smoke">It means nothing.</p>' in smoke and "Claims" not in smoke
    assert '<p class="answer">' in html_page(results_from(made()), ANSWER, [MAIN], {})


def test_a_page_of_nothing_is_a_page():
    page = Page(html_page(results_from(made(seeds=1)), "Nothing.", [], {}))
    assert "Nothing." in page.text and "diverged" not in page.text and page.links == []


def test_a_terminal_explains_the_words_of_its_columns():
    """In a line each, as the page does; no word of a column that is not there, nothing where there is none."""
    heads = ["arm", "decay of dL/dh", "decay along the cell path", "half-life", "horizon at init", "chance loss"]
    first, *words = [line.partition(":")[0].strip() for line in glossary([Table("", heads, [])], 1e-3)]
    assert words == ["dL/dh, dL/dc", "cell path", "decay", "half-life", "horizon", "chance"] and "report.html" in first
    assert [line.split(":")[0] for line in glossary([Table("", ["arm", "horizon"], [])], 1e-3)][1:] == ["  horizon"]
    assert glossary([Table("", ["arm", "trials"], [])], 1e-3) == []
