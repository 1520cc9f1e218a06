"""Sources: every readable file becomes a document once; everything else is named with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmagentos.data.sources import SourceLimits, open_source
from llmagentos.errors import NotFoundError, SourceError
from llmagentos.records.document import Document, LeftOut

TEXT = "The shop pays the money back within a week of receiving the parcel."


def read(location: Path | str, limits: SourceLimits | None = None) -> tuple[list[Document], dict[str, str]]:
    left_out: list[LeftOut] = []
    documents = list(open_source(location, limits=limits, on_left_out=left_out.append))
    return documents, {Path(one.source).name: one.reason for one in left_out}


def test_file_becomes_one_document(tmp_path: Path) -> None:
    path = tmp_path / "policy.md"
    path.write_text(f"# Refunds\r\n\r\n{TEXT}\r\n", encoding="utf-8")
    documents, left_out = read(path)
    assert [(d.title, d.text, d.source, d.origin) for d in documents] == [
        ("Refunds", f"# Refunds\n\n{TEXT}", str(path), "outside")
    ]
    assert left_out == {}


def test_folder_is_read_in_order_with_everything_below_it(tmp_path: Path) -> None:
    for name in ("b/two.txt", "a/one.txt", "three.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{TEXT} {name}", encoding="utf-8")
    assert [Path(d.source).name for d in read(tmp_path)[0]] == ["three.txt", "one.txt", "two.txt"]


def test_folder_names_what_it_leaves_out_and_reads_the_rest(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "same.txt").write_text(TEXT.upper() + "\n\n", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "short.txt").write_text("ok", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "large.txt").write_text("x" * 2001, encoding="utf-8")
    (tmp_path / ".hidden").write_text(TEXT + " hidden", encoding="utf-8")
    documents, left_out = read(tmp_path, SourceLimits(bytes=2000))
    assert [Path(d.source).name for d in documents] == ["good.txt"]
    assert set(left_out) == {"same.txt", "picture.png", "short.txt", "empty.txt", "large.txt"}
    assert "good.txt" in left_out["same.txt"]
    assert "binary" in left_out["picture.png"]
    assert "2,000" in left_out["large.txt"]


def test_folder_does_not_follow_links_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "secret.txt"
    outside.write_text(TEXT, encoding="utf-8")
    inside = tmp_path / "folder"
    inside.mkdir()
    (inside / "link.txt").symlink_to(outside)
    documents, left_out = read(inside)
    assert documents == []
    assert "leads out" in left_out["link.txt"]


def test_folder_stops_at_its_limit_and_says_so(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"{TEXT} {number}", encoding="utf-8")
    documents, left_out = read(tmp_path, SourceLimits(documents=3))
    assert len(documents) == 3
    assert "more than 3 documents" in left_out[tmp_path.name]


def test_bad_single_file_raises_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("ok", encoding="utf-8")
    with pytest.raises(SourceError, match=r"short\.txt"):
        list(open_source(path))


def test_missing_location_raises_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere.*folder"):
        open_source(tmp_path / "nowhere")


def test_html_file_is_cleaned_like_a_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(f"<html><head><title>T</title></head><body><nav>Menu</nav><p>{TEXT} {TEXT}</p></body></html>")
    (document,) = read(path)[0]
    assert document.title == "T"
    assert "<" not in document.text
    assert TEXT in document.text


def test_same_text_gets_the_same_digest(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(TEXT, encoding="utf-8")
    (one,), (other,) = read(tmp_path / "a.txt")[0], read(tmp_path / "b.txt")[0]
    assert one.digest == other.digest
    assert one.id != other.id
