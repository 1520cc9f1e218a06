"""Spreadsheets as teams export them: the first sheet's rows, and what cannot be read says why."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from llmagentos.environments import request_sheets
from llmagentos.environments.registry import make
from llmagentos.environments.request_files import read_rows
from llmagentos.environments.request_sheets import sheet_rows
from llmagentos.errors import MissingExtraError, SourceError
from llmagentos.records.document import LeftOut

pytest.importorskip("python_calamine", reason="the extra `data` is not installed")

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def write(path: Path, sheets: dict[str, list[list[object]]], hidden: tuple[str, ...] = ()) -> Path:
    """A workbook with text, numbers and cells that hold nothing (None)."""
    parts, entries, relations, types = {}, "", "", ""
    for number, (name, rows) in enumerate(sheets.items(), start=1):
        body = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'
        )
        state = ' state="hidden"' if name in hidden else ""
        entries += f'<sheet name="{name}" sheetId="{number}"{state} r:id="r{number}"/>'
        relations += f'<Relationship Id="r{number}" Type="{RELATED}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        types += (
            f'<Override PartName="/xl/worksheets/sheet{number}.xml" '
            'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        )
    package = "http://schemas.openxmlformats.org/package/2006"
    parts |= {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">{types}</Types>',
        "_rels/.rels": (
            f'<Relationships xmlns="{package}/relationships">'
            f'<Relationship Id="r1" Type="{RELATED}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{RELATED}"><sheets>{entries}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{relations}</Relationships>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in parts.items():
            packed.writestr(name, text)
    return path


def _cell(value: object) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, int | float):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'


def test_rows_of_the_first_sheet_that_is_shown_are_read_and_others_told(tmp_path: Path) -> None:
    told: list[LeftOut] = []
    tickets = [["text", "label", None], ["Où est <mon> colis?", 7, None], [None, None], ["Refund, please", 7.5, "x"]]
    sheets = {"lists": [["a"]], "Empty": [], "Tickets": tickets, "Notes": [["only a note"]]}
    path = write(tmp_path / "t.xlsx", sheets, hidden=("lists",))
    rows = list(read_rows(path, told.append))
    assert [(row.place, dict(row.fields)) for row in rows] == [
        ("t.xlsx:2", {"text": "Où est <mon> colis?", "label": "7"}),
        ("t.xlsx:4", {"text": "Refund, please", "label": "7.5"}),
    ]
    assert [one.source for one in told] == ["t.xlsx:Notes"]
    assert "Tickets" in told[0].reason


def test_a_sheet_without_names_is_told_by_its_labels(tmp_path: Path) -> None:
    rows = [[f"this is request {number}", ("yes", "no")[number % 2]] for number in range(9)]
    found = list(read_rows(write(tmp_path / "t.xlsx", {"S": rows}), list[LeftOut]().append))
    assert len(found) == 9
    assert set(found[0].fields) == {"column 1", "column 2"}
    assert found[0].assumed


def test_a_team_learns_from_a_spreadsheet(tmp_path: Path) -> None:
    rows = [["Ticket", "Queue"], *([f"My parcel number {n} is late", ("post", "shop")[n % 2]] for n in range(200))]
    env = make(f"Requests-v0?data={write(tmp_path / 't.xlsx', {'S': rows})}")
    task = env.task("train", 0)
    seen, info = env.reset(seed=task.seed, options={"split": task.split})
    assert "parcel" in seen
    assert {tool.name for tool in info["tools"]} == {"post", "shop"}


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04 broken"])
def test_what_is_no_spreadsheet_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.xlsx"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="no spreadsheet"):
        list(sheet_rows(path, list[LeftOut]().append))


def test_what_has_no_rows_or_unpacks_to_too_much_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.xlsx", {"S": []})
    with pytest.raises(SourceError, match="no rows"):
        list(sheet_rows(path, list[LeftOut]().append))
    monkeypatch.setattr(request_sheets, "MOST_UNPACKED", 100)
    with pytest.raises(SourceError, match="as CSV"):
        list(sheet_rows(path, list[LeftOut]().append))


def test_absent_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    with pytest.raises(MissingExtraError, match=r"llmagentos\[data\]"):
        list(sheet_rows(tmp_path / "t.xlsx", list[LeftOut]().append))
