"""Units drawn over text: nothing of the text is read as HTML, and a colour tells the activation."""

import re

from rnnlab.reports.text_units import STEPS, colour, coloured


def test_a_text_is_escaped_and_keeps_its_characters():
    passage = '<script>alert("x")</script> & so\non'
    drawn = coloured(passage, [100 * (i % 3 - 1) for i in range(len(passage))])
    assert not re.search(r"<(?!/?(span|pre))", drawn)
    shown = re.sub(r"<[^>]*>", "", drawn)
    for name, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#x27;", "'"), ("&amp;", "&")):
        shown = shown.replace(name, character)
    assert shown == passage


def test_a_run_of_one_colour_is_one_span_and_zero_has_none():
    assert coloured("aabb", [100, 100, 0, 0]).count("<span") == 1 and colour(0) == "#ffffff"
    assert colour(STEPS) != colour(-STEPS) and coloured("a", [500]) == coloured("a", [100])
