"""Tables on terminals of any width."""

import pytest
from rich.console import Console

from console import output

CLASSES = [
    {
        "class": number,
        "susceptibility": f"0.{number}2 to 0.{number + 1}2",
        "area, km²": "0.185",
        "of the map": "12 %",
        "landslides": 26,
        "ground that failed": "28 %",
        "times the mean": "7.09",
    }
    for number in range(1, 6)
]
EVENTS = [{"id": "emilia-romagna-2023", "occurred": "2023-05-16 00:00", "title": "A storm " * 9}]


def printed(rows, width, monkeypatch):
    monkeypatch.setattr(output, "screen", Console(width=width))
    with output.screen.capture() as capture:
        output.screen.print(output.table("Classes", rows))
    return capture.get()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_letter_of_a_table_is_cut_off(width, monkeypatch):
    shown = printed(CLASSES, width, monkeypatch)
    written = "".join(
        map(str, (*CLASSES[0], *(value for row in CLASSES for value in row.values())))
    )
    assert all(shown.count(one) >= written.count(one) for one in set(written) - {" "})


def test_numbers_stay_whole_on_a_terminal_of_80_letters(monkeypatch):
    shown = printed(CLASSES, 80, monkeypatch)
    assert all(row["susceptibility"] in shown for row in CLASSES)
    assert "2023-05-16 00:00" in printed(EVENTS, 80, monkeypatch)


def test_a_column_may_have_no_heading(monkeypatch):
    assert "AUC" in printed([{"": "AUC", "result": "0.7 " * 40}], 80, monkeypatch)


def test_a_path_is_printed_letter_by_letter_and_in_one_piece(monkeypatch):
    monkeypatch.setattr(output, "screen", Console(width=40))
    path = "/" + "folder/" * 10 + "maps[red]/scene[1].tif"
    with output.screen.capture() as capture:
        output.print_line(f"a mosaic of several images is written to {path}")
        output.print_note(f"{path} is old")
    lines = [line.strip() for line in capture.get().splitlines()]
    assert lines == ["a mosaic of several images is written to", path, "note:", path, "is old"]
