"""Chats with a model whose tokenizer is not here: bytes of text with marks between the turns take its tokens' place.

In: messages. Out: segments like any renderer's, and from them the messages again, as a chat server wants to have them.
Texts become their UTF-8 bytes and a mark is no byte, so no text can pose as another turn.
It does not know servers.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmagentos.models.chat_template import message_origin
from llmagentos.records.message import Message, Role
from llmagentos.records.transcript import Segment

_ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
_MARKS = {role: 256 + number for number, role in enumerate(_ROLES)}
_OF_MARK = {mark: role for role, mark in _MARKS.items()}
_END = 256 + len(_ROLES)


class DialogueRenderer:
    """Implements `models.engine.ChatRenderer` without any tokenizer."""

    end_of_turn = _END

    def __init__(self, model: str) -> None:
        self.model = model

    def render(
        self, messages: Sequence[Message], *, first: bool, reply: bool = True, needs_end: bool = False
    ) -> tuple[Segment, ...]:
        """Segments of `messages` (see `models.engine.ChatRenderer.render`)."""
        segments = [Segment("prompt", (_END,))] if needs_end and not first else []
        for message in messages:
            tokens = (_MARKS[message.role], *self.encode(message.content), _END)
            segments.append(Segment(message_origin(message), tokens))
        if reply:
            segments.append(Segment("prompt", (_MARKS["assistant"],)))
        return tuple(segments)

    def force(self, text: str) -> Segment:
        """The assistant's turn `text` as a `demonstration` segment."""
        return Segment("demonstration", (*self.encode(text), _END))

    def encode(self, text: str) -> tuple[int, ...]:
        """The text's bytes; a lone surrogate becomes the replacement character."""
        return tuple(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode())

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of bytes, marks left out; an unfinished character at the end becomes the replacement character."""
        return bytes(token for token in tokens if token < 256).decode("utf-8", "replace")

    def messages(self, tokens: Sequence[int]) -> list[Message]:
        """The turns that a prompt is made of, the assistant's open turn left out; empty for a text without turns."""
        found: list[Message] = []
        role: Role | None = None
        turn: list[int] = []
        for token in tokens:
            if token in _OF_MARK:
                role, turn = _OF_MARK[token], []
            elif token == _END and role is not None:
                found.append(Message(role, self.decode(turn)))
                role = None
            else:
                turn.append(token)
        return found
