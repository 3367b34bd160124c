"""Number words: exact pairs, no held-out number is seen, and what num2words does not have is one line."""

import pytest

from rnnlab.data.number_words import drawn_numbers, number_words
from rnnlab.data.pairs import PARTS
from rnnlab.specs.errors import UserError
from rnnlab.tasks import Translation


def test_numbers_are_different_always_the_same_and_small_ones_often():
    found = drawn_numbers(10**9, 3000)
    assert found == drawn_numbers(10**9, 3000) and len(set(found)) == 3000 and max(found) < 10**9
    digits = [len(str(number)) for number in found]
    assert min(digits.count(n) for n in range(4, 10)) > 300 and set(drawn_numbers(100, 1000)) == set(range(100))


def test_pairs_are_words_of_the_same_number():
    pairs, sha256 = number_words("en", "es", 1000, 900)
    assert ("twenty-one", "veintiuno") in pairs and ("nine hundred and four", "novecientos cuatro") in pairs
    assert len(sha256) == 16 and len(pairs) == len(set(pairs))


def test_no_held_out_number_is_seen_in_training():
    data = Translation(size=2000).data
    sources = [{tuple(row) for row in data.parts[part].source} for part in PARTS]
    assert sum(map(len, sources)) == len(set().union(*sources)) == 2000
    assert all(50 < len(part) < 150 for part in sources[1:])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"source": "englisch"}, "source=englisch: num2words has no such language"),
        ({"target": "fr_BR"}, "target=fr_BR: num2words has no such language; the nearest is fr_BE"),
        ({"target": "ES"}, "target=ES: num2words has no such language; the nearest is es"),
        ({"source": ""}, "source=: num2words has no such language"),
        ({"numbers": 99}, "numbers=99: must be at least 100"),
        ({"numbers": 10**100}, "num2words has no words of|numbers="),
        ({"size": 10}, "size=10: must be at least 100"),
        ({"source_length": 47}, "source_length=47: at most length - 2 = 46"),
        ({"length": 3}, "length=3: must be at least 4"),
        ({"length": 6}, "pairs are longer than .*task.length=.* task.source_length=.* holds 95 %"),
        ({"units": "letters"}, "units"),
        ({"target": "en"}, "source=en target=en: both are one language"),
    ],
)
def test_what_cannot_be_had_is_one_line(options, told):
    with pytest.raises((UserError, ValueError, TypeError), match=told):
        Translation(**{"size": 300, **options})
