"""From raw bytes to clean text: decoding, page furniture, characters, normal form.

In: bytes of a file or page, and what was declared about them. Out: Unicode text (NFC), a title, a digest.
It does not know where the bytes came from nor where the text goes.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import unicodedata
from dataclasses import dataclass

from llmagentos.errors import SourceError

MIN_CHARACTERS = 20
"""Letters and digits below which a document is near-empty: less than a short sentence, in Chinese a long one."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(
    rb"""<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*["']?([A-Za-z0-9_.:-]{2,40})""", re.I
)
_FALLBACKS = ("utf-8", "gb18030", "big5", "shift_jis", "euc_kr", "cp1252")
_LATIN = frozenset(
    {"cp1250", "cp1254", "cp1257", "cp1258", "cp437", "cp850", "cp852", "mac_roman", "mac_latin2", "latin_1"}
)
"""Detection needs some hundred bytes to tell these apart; below that the most common of them, cp1252, is taken."""
_SPACES = re.compile(r"[^\S\n]+(?=\n|$)")
_BLANK_LINES = re.compile(r"\n{3,}")
_JOINERS = frozenset("\u200c\u200d")
"""Zero-width joiners carry meaning in Persian, Hindi and emoji; every other format character only hides text."""


@dataclass(frozen=True, slots=True)
class CleanText:
    """What is left of a file or page."""

    title: str
    text: str


def decode(data: bytes, declared: str = "") -> str:
    """Text of `data`: by its byte-order mark, the `declared` encoding, the one that HTML states, UTF-8, then detection.

    Raises `SourceError` for binary data and for bytes that no known encoding explains.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _strict(data, encoding)
    if b"\0" in data[:65_536]:
        raise SourceError("is binary, not text")
    stated = _DECLARED.search(data[:4096])
    for encoding in (declared, stated.group(1).decode("ascii") if stated else "", "utf-8"):
        try:
            return data.decode(_supersets(encoding))
        except (LookupError, UnicodeDecodeError):
            continue
    return _detect(data)


def _strict(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        raise SourceError(f"says it is {encoding} and is not: {problem.reason} at byte {problem.start}") from problem


def _supersets(encoding: str) -> str:
    """The encoding that is really meant: pages say gb2312 and latin-1 and use what extends them."""
    name = encoding.lower().strip()
    return {"gb2312": "gb18030", "gbk": "gb18030", "iso-8859-1": "cp1252", "latin-1": "cp1252", "": "?"}.get(name, name)


def _detect(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:200_000]).best()
    guess = best.encoding if best else "utf-8"
    if len(data) < 500 and guess in _LATIN:
        guess = "cp1252"
    for encoding in (guess, *_FALLBACKS):
        try:
            return data.decode(_supersets(encoding))
        except UnicodeDecodeError:
            continue
    raise SourceError("is in an encoding nobody recognises; save it as UTF-8")


def clean_text(text: str) -> str:
    """`text` in NFC, with `\\n` line ends, without control, hidden and direction-changing characters.

    Unicode's tag characters and zero-width spaces go too: they carry text that a person does not see.
    """
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = text.replace("\u2028", "\n").replace("\u2029", "\n\n").replace("\f", "\n\n").replace("\v", "\n")
    text = "".join(
        c for c in text if c in "\n\t" or c in _JOINERS or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"}
    )
    return _BLANK_LINES.sub("\n\n", _SPACES.sub("", text)).strip()


def clean_page(html: str, url: str = "") -> CleanText:
    """Title and main text of an HTML page, menus, advertisements and footers left out."""
    from trafilatura import bare_extraction

    found = bare_extraction(html, url=url or None, include_comments=False, with_metadata=True, favor_recall=True)
    if found is None:
        raise SourceError("holds no readable text")
    page = found if isinstance(found, dict) else found.as_dict()
    return CleanText(clean_text(page.get("title") or "").replace("\n", " "), clean_text(page.get("text") or ""))


def is_page(text: str) -> bool:
    """Whether `text` is HTML by its own first words."""
    start = text[:1024].lstrip().lower()
    return start.startswith(("<!doctype html", "<html", "<?xml")) and "<html" in text[:4096].lower()


def first_line(text: str, limit: int = 120) -> str:
    """A title for text that has none: its first line, heading marks removed, cut at `limit` characters."""
    line = text.split("\n", 1)[0].strip().lstrip("#").strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def is_near_empty(text: str) -> bool:
    """Whether there is too little text to learn anything from."""
    return sum(character.isalnum() for character in text) < MIN_CHARACTERS


def sense_digest(text: str) -> str:
    """SHA-256 of what `text` says: compatibility forms, case and white space do not count."""
    normal = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(normal.encode()).hexdigest()
