"""From messages to tokens and back, exactly as one model was trained to see them.

In: a model's folder, then messages. Out: token segments to append to a transcript, and text of sampled tokens.
It loads the tokenizer only, no weights; it does not know engines, programs or what is done with the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from llmagentos.errors import ModelFileError
from llmagentos.models.chat_template import JinjaChat, Piece, choose_frame
from llmagentos.models.files import SOURCE_FILE, read_json
from llmagentos.records.message import Message
from llmagentos.records.transcript import Segment

_ENDS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "</s>")
"""Tokens that end a text in any model that has them, whatever its configuration lists."""


class Renderer:
    """Renders chats for the model in one folder; thread-safe, since it holds nothing that changes."""

    def __init__(self, folder: Path, model: str | None = None) -> None:
        """Load `tokenizer.json` and the chat template of `folder`; `model` overrides the name it was pulled under."""
        self._folder = folder
        description = read_json(folder, "tokenizer.json")
        settings = read_json(folder, "tokenizer_config.json", optional=True)
        self._control = _control_tokens(description)
        self._control_ids = frozenset(self._control.values())
        self._split = re.compile("|".join(map(re.escape, sorted(self._control, key=len, reverse=True))) or r"(?!)")
        self._tokenizer = plain_tokenizer(description, folder)
        self._check_plain()
        self._model = model or str(read_json(folder, SOURCE_FILE, optional=True).get("source") or folder.name)
        source = _template_source(folder, settings)
        names = {key: _token_text(settings.get(key)) for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
        template = None if source is None else JinjaChat(source, {k: v for k, v in names.items() if v}, self._split)
        self._frame = choose_frame(template, tuple(self._control))
        self._end = self._control[self._frame.end]
        self._eos = self._end_ids(names["eos_token"])

    @property
    def model(self) -> str:
        """Name recorded in transcripts."""
        return self._model

    @property
    def folder(self) -> Path:
        """Where the tokenizer was read from."""
        return self._folder

    @property
    def end_of_turn(self) -> int:
        """The token that ends the assistant's turn.

        A sampled reply that was cut (by length or a stop string) lacks it: say `needs_end` to the next `render`.
        """
        return self._end

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens at which generation stops, `end_of_turn` among them."""
        return self._eos

    @property
    def control_ids(self) -> frozenset[int]:
        """Special tokens, which no message's text can ever become."""
        return self._control_ids

    @property
    def vocabulary(self) -> int:
        """Number of token ids, special ones included."""
        return max(self._tokenizer.get_vocab_size(), max(self._control_ids, default=-1) + 1)

    def render(
        self, messages: Sequence[Message], *, first: bool, reply: bool = True, needs_end: bool = False
    ) -> tuple[Segment, ...]:
        """Segments of `messages` to append to a transcript; neighbours of one origin are joined.

        `first` says that the transcript is empty. Otherwise it ends with the assistant's own turn, and what closes
        that turn comes first: only the separator when the turn ended with `end_of_turn`, that token too with
        `needs_end`. `reply` opens the assistant's next turn. Nothing here has an origin that may enter a loss.
        """
        segments: list[Segment] = []
        for turn in self._frame.turns(messages, first=first, reply=reply, needs_end=needs_end):
            tokens = self._tokens(turn.pieces)
            if segments and segments[-1].origin == turn.origin:
                tokens = segments.pop().tokens + tokens
            if tokens:
                segments.append(Segment(turn.origin, tokens))
        return tuple(segments)

    def force(self, text: str) -> Segment:
        """The assistant's turn `text` with its end-of-turn token, as a `demonstration` segment."""
        return Segment("demonstration", (*self.encode(text), self._end))

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of plain text, no special tokens added or recognised.

        A lone surrogate, which JSON can carry and no tokenizer can read, becomes the replacement character.
        """
        if not text:
            return ()
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special tokens left out."""
        plain = [token for token in tokens if token not in self._control_ids]
        return str(self._tokenizer.decode(plain, skip_special_tokens=False))

    def _tokens(self, pieces: Iterable[Piece]) -> tuple[int, ...]:
        """Tokens of a turn: text between two special tokens is encoded in one go, as the model saw it in training."""
        tokens: list[int] = []
        run = ""
        for piece in pieces:
            at = 0
            for special in self._split.finditer(piece.text) if piece.framing else ():
                tokens += self.encode(run + piece.text[at : special.start()])
                tokens.append(self._control[special.group()])
                run, at = "", special.end()
            run += piece.text[at:]
        return tuple(tokens) + self.encode(run)

    def _check_plain(self) -> None:
        for text in self._control:
            if not self._control_ids.isdisjoint(self.encode(text)):
                raise ModelFileError(
                    f"The tokenizer of {self._folder} reads {text!r} as a special token even in plain text, so that "
                    "a message could pose as the system. Choose another model: llmagentos models list"
                )

    def _end_ids(self, eos_token: str) -> frozenset[int]:
        ends = {self._end}
        for name in ("generation_config.json", "config.json"):
            listed = read_json(self._folder, name, optional=True).get("eos_token_id")
            ends.update(listed if isinstance(listed, list) else [] if listed is None else [int(listed)])
        ends.update(self._control[text] for text in (*_ENDS, eos_token) if text in self._control)
        return frozenset(ends)


def _control_tokens(description: Mapping[str, Any]) -> dict[str, int]:
    """Special tokens by text: all added tokens but runs of white space, which some models add as ordinary text."""
    added = description.get("added_tokens") or []
    return {token["content"]: int(token["id"]) for token in added if token.get("special") or token["content"].strip()}


def plain_tokenizer(description: dict[str, Any], folder: Path) -> Tokenizer:
    """The tokenizer without its special tokens: it cannot produce them from any text."""
    kept = [t for t in description.get("added_tokens") or [] if not (t.get("special") or t["content"].strip())]
    stripped = {**description, "added_tokens": kept, "post_processor": None, "truncation": None, "padding": None}
    try:
        return Tokenizer.from_str(msgspec.json.encode(stripped).decode())
    except Exception as error:  # the library has no narrower type for a damaged file
        raise ModelFileError(
            f"The tokenizer in {folder / 'tokenizer.json'} cannot be read: {error}. "
            "Fetch the model again: llmagentos models pull NAME --force"
        ) from error


def _template_source(folder: Path, settings: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _token_text(value: object) -> str:
    """A token in tokenizer_config.json is a string or an object with `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""
