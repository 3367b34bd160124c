"""A file of a user's own: what is wrong in it is mended and said with its row, or refused in one line."""

import re

import numpy as np
import pytest

from rnnlab.data.csv_series import csv_series
from rnnlab.specs.errors import UserError


def days(count, start="2024-01-01"):
    return np.datetime64(start, "D") + np.arange(count)


def rows(times, values, head="date,close"):
    return [head, *(f"{time},{value}" for time, value in zip(times, values, strict=True))]


GOOD = rows(days(30), range(100, 130))


def changed(row, text, lines=GOOD):
    """With the file's row (the header is row 1) in other words; None leaves it out."""
    return [*lines[: row - 1], *([] if text is None else [text]), *lines[row:]]


BUSINESS = [day for day in days(60) if np.is_busday(day) and str(day) != "2024-01-15"]
MENDED = {  # what is wrong: (lines, what is said, the values of it)
    "nothing": (GOOD, None, {}),
    "byte order mark": (["\ufeff" + GOOD[0], *GOOD[1:]], None, {}),
    "semicolons and decimal commas": (["date;close", *(f"{day};{v},5" for v, day in enumerate(days(30)))],
                                      "close: read as with a decimal comma", {9: 9.5}),
    "tabs": (["date\tclose", *(f"{day}\t{v}" for v, day in enumerate(days(30)))], None, {29: 29}),
    "blank lines": ([*GOOD[:10], "", "", *GOOD[10:]], None, {}),
    "dollars and thousands": (changed(3, '2024-01-02,"$1,234.50"'), "with thousands commas and signs of currency",
                              {1: 1234.5}),
    "a gap in time": (changed(12, None), "1 row is missing of one a day (the first after row 11): put in", {10: 109}),
    "a gap of three": ([*GOOD[:11], *GOOD[14:]], "3 rows are missing of one a day (the first after row 11)", {12: 109}),
    "no weekends and a holiday": (rows(BUSINESS, range(len(BUSINESS))), None, {}),
    "a duplicate": ([*GOOD[:5], "2024-01-04,999", *GOOD[5:]],
                    "row 5 with the time of a later row: the later", {3: 999}),
    "rows out of order": ([*GOOD[:5], GOOD[6], GOOD[5], *GOOD[7:]],
                          "row 7 earlier than the row before: rows put", {4: 104}),
    "from the latest on": ([GOOD[0], *GOOD[:0:-1]], "rows run from the latest to the earliest: turned round", {0: 100}),
    "text among numbers": (changed(9, "2024-01-08,closed"),
                           "text in row 9, as in 'closed': taken as missing", {7: 106}),
    "an empty cell": (changed(9, "2024-01-08,"),
                      "1 missing value (the longest run: 1, after row 8): filled by", {7: 106}),
    "a run of nan": ([*GOOD[:9], *(f"2024-01-{d:02d},NaN" for d in range(9, 13)), *GOOD[13:]],
                     "4 missing values (the longest run: 4, after row 9)", {8: 107, 11: 107, 12: 112}),
    "infinite": (changed(9, "2024-01-08,inf"), "infinite or beyond 1e+30 in row 9: taken as missing", {7: 106}),
    "huge": (changed(9, "2024-01-08,1e300"), "infinite or beyond 1e+30 in row 9", {7: 106}),
    "missing at the beginning": (changed(2, "2024-01-01,"),
                                 "the first row without a value of close: left out", {0: 101}),
    "missing at the end": (changed(31, "2024-01-30,n/a"), "the last row without a value of close: left out", {}),
    "a short row": (changed(9, "2024-01-08"), "row 9 with fewer cells than the header", {7: 106}),
    "uneven steps": (rows(np.datetime64("2024-01-01") + np.cumsum(range(30)), range(30)),
                     "steps in time are uneven: each row is one step", {}),
    "two time zones": (rows([f"{d}T00:00:00+0{1 + (i > 14)}:00" for i, d in enumerate(days(30))], range(30)),
                       "2 offsets from UTC (+01:00, +02:00) left out: times are local", {}),
    "winter and summer days": (rows([f"{d} 00:00:00-0{5 - (i > 14)}:00" for i, d in enumerate(days(30, "2024-02-25"))],
                                    range(30)), "(-04:00, -05:00) left out: times are local", {29: 29}),
    "one time zone": (rows([f"{d} 16:00-05:00" for d in days(30)], range(30)),
                      "date: offset from UTC (-05:00) left out: times are local", {}),
    "hours of two time zones": (rows([f"2024-01-01T{h:02d}:00+0{1 + (h > 11)}:00" for h in range(24) if h != 12],
                                     range(23)), "2 offsets from UTC (+01:00, +02:00): read as UTC", {}),
    "UTC": (rows([f"{d}T00:00:00Z" for d in days(30)], range(30)), None, {}),
    "no times": (["n,close", *(f"a,{i}" for i in range(30))], "no column of times: each row is one step", {}),
    "none in a column named time": (["time,close", *(f"{1980 + i}s,{i}" for i in range(30))], "no column of times", {}),
    "millions": (["date;close", *(f"{d};{1 + i},234,000" for i, d in enumerate(days(30)))],
                 "close: read as with thousands commas", {1: 2234000}),
    "three decimals and one": (["date;close", *(f"{d};{i},{'25' if i == 4 else '250'}"
                                                for i, d in enumerate(days(30)))],
                               "read as with a decimal comma", {4: 4.25, 5: 5.25}),
    "below one with three decimals": (["date;close", *(f"{d};0,{100 + i}" for i, d in enumerate(days(30)))],
                                      "read as with a decimal comma", {5: 0.105}),
    "a month without business days": (rows(np.delete(BUSINESS, range(10, 20)), range(len(BUSINESS) - 10)),
                                      "1 gap of more than 7 days (the first after row 11): left as they are", {}),
    "a month on the 15th missing": (rows([f"{2020 + m // 12}-{1 + m % 12:02d}-15" for m in range(30) if m != 9],
                                         range(29)), "1 row is missing of one a month (the first after", {9: 8}),
    "a first second": (rows(["1970-01-01", *(np.datetime64("2024-01-01T00:00:00") + np.arange(300))], range(301)),
                       "steps in time are uneven: each row is one step", {300: 300}),
    "a duplicate from the latest on": ([GOOD[0], *GOOD[:25:-1], GOOD[25], "2024-01-25,999", *GOOD[24:0:-1]],
                                       "row 7 with the time of a later row: the later", {24: 999}),
    "milliseconds": (rows([f"2024-01-01T00:00:00.{i:03d}" for i in range(30)], range(30)),
                     "times are finer than a second: each row is one step", {29: 29}),
}  # fmt: skip
REFUSED = {  # what is wrong: (lines or bytes, options, what is said)
    "no file": (None, {}, r"csv=.*prices.csv: no such file"),
    "a near file": (None, {"file": "price.csv"}, r"no such file; the nearest is prices.csv"),
    "a folder": ("folder", {}, "a folder, where a file is needed"),
    "empty": (b"", {}, "the file is empty"),
    "only spaces": (b"\n \n\n", {}, "the file is empty"),
    "Latin-1": ("\n".join(GOOD).encode() + "\n2024-02-01,5 Stück".encode("latin-1"),
                {}, "row 32: byte 0xfc is not UTF-8"),
    "UTF-16": ("\n".join(GOOD).encode("utf-16"), {}, "row 1: byte 0xff is not UTF-8: save the file as UTF-8"),
    "binary": (b"date,close\n2024-01-01,\x00\n", {}, "row 2: a NUL byte: this is no text file"),
    "only a header": (GOOD[:1], {}, "there is a header, and no row below it"),
    "one row": (GOOD[:2], {}, "column=close holds 1 values: a series needs at least 20"),
    "too short": (GOOD[:15], {}, "column=close holds 14 values"),
    "no header": (GOOD[1:], {}, "row 1: a header is needed that names the columns, and here is 2024-01-01, 100"),
    "no such column": (GOOD, {"column": "clsoe"}, "column=clsoe: .* has no such column; the nearest is close"),
    "no such time": (GOOD, {"time": "dat"}, "time=dat: .* nearest is date"),
    "the same name twice": (["date,close,close", *(f"{line},1" for line in GOOD[1:])], {"column": "close"},
                            "row 1: columns 2 and 3 are both named close: rename one"),
    "two columns of numbers": (["date,open,close", *(f"{line},1" for line in GOOD[1:])], {},
                               "columns of numbers are open, close: choose one, as in task.column=open"),
    "a column of text": (["date,close,who", *(f"{line},me" for line in GOOD[1:])], {"column": "who"},
                         "row 2: column=who holds text, as in 'me', where numbers are needed"),
    "no numbers": (rows(days(30), ["a"] * 30), {}, "no column holds numbers"),
    "an open quote": (changed(9, '2024-01-08,"5'), {}, r"row \d+: unexpected end of data"),
    "decimal commas between commas": (changed(9, "2024-01-08,5,5"),
                                      {}, "row 9: 3 cells, where the header has 2; quote"),
    "no time": (changed(9, "soon,5"), {"time": "date"}, "row 9: date='soon' is no time"),
    "no time in the column of times": (changed(9, "soon,5"), {}, "row 9: date='soon' is no time"),
    "mostly times under another name": (["when,close", *changed(30, "soon,5")[1:]], {}, "row 30: when='soon' is no"),
    "mostly no times under its name": (rows(["x" if i % 3 else day for i, day in enumerate(days(30))], range(30)),
                                       {}, "row 3: date='x' is no time .*, nor do 19 others"),
    "no year": (["year,close", *(f"{'?' if i == 5 else 1990 + i}.0,{i}" for i in range(30))], {"column": "close"},
                r"row 7: year='\?.0' is no time"),
    "decimal or thousands": (["date\tclose", *(f"{d}\t{990 + i if i < 10 else f'1,{i:03d}'}"
                                               for i, d in enumerate(days(30)))],
                             {}, "row 12: close='1,010' may hold a decimal or a thousands comma"),
    "a late covariate": (["date,close,x", *(f"{day},{i if i < 25 else ''},{i if i > 26 else ''}"
                                            for i, day in enumerate(days(30)))],
                         {"column": "close", "covariates": ("x",)}, "covariates=x: holds no number before close ends"),
    "an impossible day": (changed(9, "2024-02-31,5"), {"time": "date"}, "row 9: date='2024-02-31' is no time"),
    "an empty time": (changed(9, ",5"), {"time": "date"}, "row 9: date='' is no time"),
    "two columns of times": (["date,day,close", *(f"{day},{day},{i}" for i, day in enumerate(days(30)))], {},
                             "columns date and day both hold times: choose one"),
    "day or month first": (rows([f"0{1 + i % 3}/0{1 + i % 4}/2024" for i in range(30)], range(30)), {},
                           "may be month/day or day/month: write dates as YYYY-MM-DD"),
    "constant": (rows(days(30), [7] * 30), {}, "every value of column=close is 7: there is nothing to forecast"),
    "mostly missing": (rows(days(60), [i if i < 10 or i > 47 else "" for i in range(60)]), {},
                       "63% of column=close are missing: at most 50%"),
    "an empty covariate": (["date,close,x", *(f"{line}," for line in GOOD[1:])],
                           {"column": "close", "covariates": ("x",)},
                           "covariates=x: holds no number"),
}  # fmt: skip


@pytest.mark.parametrize("name", MENDED)
def test_what_can_be_mended_is_mended_and_said(name, tmp_path):
    lines, said, values = MENDED[name]
    (tmp_path / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    series = csv_series(tmp_path / "prices.csv")
    assert (said is None and not series.repairs) or (said and any(said in line for line in series.repairs)), (
        series.repairs
    )
    assert np.isfinite(series.values).all() and not any("\n" in line for line in series.repairs)
    for place, value in values.items():
        assert series.values[place] == value
    if series.time is not None:
        assert (np.diff(series.time).astype(int) > 0).all()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_is_refused_in_one_line(name, tmp_path):
    content, options, said = REFUSED[name]
    file = tmp_path / "prices.csv"
    if content == "folder":
        file.mkdir()
    elif "file" in options:
        file.write_text("")
    elif content is not None:
        file.write_bytes(content if isinstance(content, bytes) else "\n".join(content).encode())
    options = dict(options)
    with pytest.raises(UserError, match=said) as found:
        csv_series(tmp_path / options.pop("file", "prices.csv"), **options)
    assert "\n" not in str(found.value)


def test_a_missing_value_is_the_last_known_one_and_not_observed(tmp_path):
    """Never a later one: a forecast from there could not have known it."""
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["x", "1", "2", "", "", "9", *map(str, range(20))]))
    series = csv_series(file)
    assert len(series) == 23, "blank lines of a file of one column are blank lines"
    file.write_text("\n".join(["x,n", "1,a", "2,a", ",a", ",a", "9,a", *(f"{i},a" for i in range(20))]))
    series = csv_series(file, "x")
    np.testing.assert_array_equal(series.values[:5], [1, 2, 2, 2, 9])
    np.testing.assert_array_equal(series.observed[:5], [True, True, False, False, True])


def test_covariates_are_read_beside_it_from_where_all_are_known(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["day,y,x", *(f"{day},{i},{i * 2 if i > 2 else ''}" for i, day in enumerate(days(30)))]))
    series = csv_series(file, "y", covariates=("x",))
    np.testing.assert_array_equal(series.covariates[:, 0], 2 * series.values)
    assert len(series) == 27 and series.repairs == ("the first 3 rows without a value of x: left out",)


def test_a_file_that_changes_is_read_again(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("\n".join(GOOD))
    assert csv_series(file).values[-1] == 129
    file.write_text("\n".join([*GOOD[:-1], "2024-01-30,77.5"]))
    assert csv_series(file).values[-1] == 77.5


STEPS = {
    "year": ([f"{year}-01-01" for year in range(1990, 2020)], "12MS", "2020-01-01"),
    "month": ([f"{2020 + m // 12}-{1 + m % 12:02d}-01" for m in range(30)], "MS", "2022-07-01"),
    "quarter": ([f"{2000 + q // 4}-{1 + 3 * (q % 4):02d}-01" for q in range(30)], "3MS", "2007-07-01"),
    "month on the 15th": ([f"{2020 + m // 12}-{1 + m % 12:02d}-15" for m in range(30)], "months=1", "2022-07-15"),
    "quarter from February": ([f"{2000 + q // 4}-{2 + 3 * (q % 4):02d}-01" for q in range(30)], "3MS", "2007-08-01"),
    "quarter on the 15th": ([f"{2000 + q // 4}-{2 + 3 * (q % 4):02d}-15" for q in range(30)], "months=3", "2007-08-15"),
    "quarter end in January": ([np.datetime64(f"{2000 + q // 4}-{2 + 3 * (q % 4):02d}") - np.timedelta64(1, "D")
                                for q in range(30)], "3ME", "2007-07-31"),
    "year from July": ([f"{year}-07-01" for year in range(1990, 2020)], "12MS", "2020-07-01"),
    "year to June": ([f"{year}-06-30" for year in range(1990, 2020)], "12ME", "2020-06-30"),
    "year in mid-March": ([f"{year}-03-15" for year in range(1990, 2020)], "months=12", "2020-03-15"),
    "week": (days(210)[::7], "W-MON", "2024-07-29"),
    "business day": ([day for day in days(60) if np.is_busday(day)], "B", "2024-03-01"),
    "hour": ([f"{day}T{h:02d}:00" for day in days(2) for h in range(24)], "h", "2024-01-03T00:00:00"),
    "30 minutes": ([f"2024-01-01 {m // 60:02d}:{m % 60:02d}" for m in range(0, 1200, 30)], "30min",
                   "2024-01-01T20:00:00"),
    "month end": ([np.datetime64(f"{2020 + m // 12}-{1 + m % 12:02d}") + 1 - np.timedelta64(1, "D") for m in range(30)],
                  "ME", "2022-07-31"),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_a_time_index_goes_on(name, tmp_path):
    from rnnlab.data.time_index import Step, later

    times, offset, following = STEPS[name]
    file = tmp_path / "a.csv"
    file.write_text("\n".join(rows(times, range(len(times)))))
    series = csv_series(file)
    assert (series.step, series.offset) == (re.split(" (?:on|from|in|to|end)", name)[0], offset) and not series.repairs
    [after] = later(series.time[-1], Step(series.step, series.offset), 1)
    assert after == np.datetime64(following, "s")


@pytest.mark.parametrize(
    ("header", "cells", "told"),
    [
        ("d;v", [f"{day:02d}.03.2023;{day},50" for day in range(1, 29)], "v: read as with a decimal comma"),
        ("d,v", [f'2023-03-{day:02d},"{day},000.5"' for day in range(1, 29)], "v: read as with thousands commas"),
        ("d,v", [f"2023-03-{day:02d},${day}.00" for day in range(1, 29)], "v: read as with signs of currency or %"),
        ("d,v", [f"03/{day:02d}/2023,{day}" for day in range(1, 29)], "d: read as month/day/year"),
        ("d,v", [f"{day:02d}/03/2023,{day}" for day in range(1, 29)], "d: read as day/month/year"),
    ],
)
def test_what_a_number_or_a_date_was_read_as_is_told(header, cells, told, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("\n".join([header, *cells]))
    series = csv_series(file)
    assert any(repair.startswith(told) for repair in series.repairs), series.repairs
    assert str(series.time[0]).startswith("2023-03-01") and series.step == "day"


@pytest.mark.parametrize("mark", ["-Q", "Q", " q"])
def test_quarters_are_times(mark, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["when,v", *(f"{1990 + n // 4}{mark}{n % 4 + 1},{n % 7}" for n in range(40))]))
    series = csv_series(file)
    assert series.step == "quarter" and str(series.time[5]).startswith("1991-04-01")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("d,v,v\n" + "2023-01-01,1,2\n" * 30, "v names 2 columns: rename one"),
        ("d,v\n" + "".join(f"2023-01-{1 + n},{'x' if n % 5 == 4 else n}\n" for n in range(25)),
         "no column holds numbers: 20% of v is text, as in row 6, 'x'; at most 10% may be"),
        ("d,a,b\n" + "2023-01-01,1,2\n" * 30, "choose one, as in task.column=a"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_chosen_says_why(text, told, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError) as error:
        csv_series(tmp_path / "a.csv")
    assert told in str(error.value)
