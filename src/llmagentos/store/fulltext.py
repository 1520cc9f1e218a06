"""Full-text search over a table, for text of spaces and text without.

In: text to index, a person's or model's words to look for. Out: row numbers with scores.
It does not know what the rows are. It speaks SQLite's FTS5; another dialect gets its own index and form of this.
"""

from __future__ import annotations

import re

from sqlalchemy import Column, Connection, Double, Integer, Subquery, text

# Han, kana, Hangul: written without spaces, or with particles joined to their words.
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]+")
_WORD = re.compile(r"\w+")
_MAX_TERMS = 64
"""A question of more terms than this is a pasted page: its first terms say what it is about."""

_STOP_WORD = re.compile(
    r"a|an|and|are|as|at|be|by|do|does|did|for|from|how|i|in|is|it|me|my|of|on|"
    r"or|please|tell|that|the|this|to|was|we|were|what|when|where|which|who|whom|why|"
    r"will|with|you|your|about"
)


class TextIndex:
    """The FTS5 table `<table>_text`, its row numbers those of `table`."""

    def __init__(self, table: str) -> None:
        self._name = f"{table}_text"

    def add(self, connection: Connection, number: int, content: str) -> None:
        """Index the text of row `number`."""
        statement = text(f"INSERT INTO {self._name} (rowid, words) VALUES (:number, :words)")
        connection.execute(statement, {"number": number, "words": segment(content)})

    def remove(self, connection: Connection, number: int) -> None:
        """Take row `number` out of the index."""
        connection.execute(text(f"DELETE FROM {self._name} WHERE rowid = :number"), {"number": number})

    def ranked(self, question: str) -> Subquery | None:
        """Columns `number` and `score` (BM25, higher is better) of rows with any of the question's words.

        None when there is no word to look for.
        """
        terms = query_terms(question)
        if not terms:
            return None
        match = " OR ".join(f'"{term}"' for term in terms)
        statement = text(
            f"SELECT rowid AS number, -bm25({self._name}) AS score FROM {self._name} WHERE {self._name} MATCH :match"
        ).bindparams(match=match)
        columns = Column("number", Integer), Column("score", Double)
        return statement.columns(*columns).subquery("found")


def segment(content: str) -> str:
    """Text with runs of dense script written as their characters and pairs of characters, spaces between."""
    return _DENSE.sub(lambda run: f" {' '.join(_grams(run.group()))} ", content.replace("\0", " "))


def query_terms(question: str) -> list[str]:
    """Words to look for, harmless inside double quotes: no operator, quote or wildcard of the query language survives.

    Dense script gives pairs of characters, a single character itself. Common English words count only where
    there is nothing else.
    """
    terms: list[str] = []
    for word in _WORD.findall(question):
        position = 0
        for run in _DENSE.finditer(word):
            terms.extend(_pieces(word[position : run.start()]))
            terms.extend(_grams(run.group())[len(run.group()) if len(run.group()) > 1 else 0 :])
            position = run.end()
        terms.extend(_pieces(word[position:]))
    distinct = list(dict.fromkeys(terms))
    telling = [term for term in distinct if not _STOP_WORD.fullmatch(term)]
    return (telling or distinct)[:_MAX_TERMS]


def _pieces(word: str) -> list[str]:
    return [word.lower()] if word.strip("_") else []


def _grams(run: str) -> list[str]:
    """Characters, then pairs."""
    return [*run, *(run[index : index + 2] for index in range(len(run) - 1))]
