"""How one model frames a chat: which text stands around each message.

In: messages and a model's own chat template. Out: turns, made of framing (whose special tokens count) and text
(whose special tokens never do). It does not know tokens: `rendering` turns the pieces into them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmagentos.errors import ConfigError, ModelFileError
from llmagentos.records.identity import JSON
from llmagentos.records.message import Message
from llmagentos.records.transcript import SegmentOrigin

CHATML_START = "<|im_start|>"
CHATML_END = "<|im_end|>"
_ROLES = ("system", "user", "assistant", "tool")
_MARK_OPEN, _MARK_CLOSE = "\ue000", "\ue001"
"""Private-use characters that stand for a message's text while a template is rendered: the text itself never is."""
_MARK = re.compile(f"{_MARK_OPEN}(\\d+){_MARK_CLOSE}")


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive characters of a rendered chat."""

    text: str
    framing: bool
    """True for the template's own text, in which special tokens are recognised; False for a message's text."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one message, or the space between two, adds to a chat."""

    origin: SegmentOrigin
    pieces: tuple[Piece, ...]


class ChatFrame(Protocol):
    """The frame of one model's chats."""

    @property
    def end(self) -> str:
        """The special token that ends the assistant's turn."""
        ...

    def turns(self, messages: Sequence[Message], *, first: bool, reply: bool, needs_end: bool) -> list[Turn]:
        """Turns to append to a chat that is empty (`first`) or ends with the assistant's own turn.

        That turn's end token is left out unless `needs_end`; `reply` opens the assistant's next turn.
        """
        ...


def message_origin(message: Message) -> SegmentOrigin:
    """Origin of a message's tokens: never one that may enter a loss."""
    if message.role == "tool":
        return "tool"
    if message.role == "assistant":
        return "history"
    return "environment" if message.outside else "prompt"


@dataclass(frozen=True, slots=True)
class ChatMLFrame:
    """`<|im_start|>role`, a line break, the text, `<|im_end|>`, a line break; nothing is added that nobody said.

    Some templates slip in a system message when there is none; this frame does not.
    """

    tool_open: str = "user\n"
    """What follows the start token of a tool's turn: a model without that role hears it from the user."""
    tool_close: str = ""

    @property
    def end(self) -> str:
        return CHATML_END

    def turns(self, messages: Sequence[Message], *, first: bool, reply: bool, needs_end: bool) -> list[Turn]:
        _check_roles(messages)
        turns = []
        if not first:
            turns.append(Turn("prompt", (Piece((CHATML_END if needs_end else "") + "\n", True),)))
        for message in messages:
            tool = message.role == "tool"
            before = CHATML_START + (self.tool_open if tool else f"{message.role}\n")
            after = (self.tool_close if tool else "") + f"{CHATML_END}\n"
            opens, said = Piece(before, True), (Piece(message.content, False), Piece(after, True))
            if message.role == "assistant":  # its turn is opened as that of a reply is
                turns += [Turn("prompt", (opens,)), Turn(message_origin(message), said)]
            else:
                turns.append(Turn(message_origin(message), (opens, *said)))
        if reply:
            turns.append(Turn("prompt", (Piece(f"{CHATML_START}assistant\n", True),)))
        return turns


class TemplateFrame:
    """The frame of any other template, found by rendering it over placeholders and taking what each message adds.

    A template is used only if what it writes for the first messages stays when more follow; one that rewrites
    earlier turns would make a transcript untrue and is refused with `ModelFileError`.
    """

    def __init__(self, template: JinjaChat) -> None:
        self._template = template
        after = self._split(self._whole("ua", False))[1]
        match = template.control.match(after)
        if match is None:
            raise ModelFileError(
                f"The chat template does not end the assistant's turn with a special token (it writes {after[:40]!r}). "
                "Put a template that does into chat_template.jinja in the model's folder."
            )
        self._end = match.group()

    @property
    def end(self) -> str:
        return self._end

    def turns(self, messages: Sequence[Message], *, first: bool, reply: bool, needs_end: bool) -> list[Turn]:
        _check_roles(messages)
        roles = "" if first else "ua"
        done, turns = "", []
        if not first:
            done, after = self._split(self._whole(roles, False))
            closing = after if needs_end else after.removeprefix(self._end)
            turns.append(Turn("prompt", (Piece(closing, True),)))
            done += after
        base, waiting = len(roles), []
        for message in messages:
            roles += message.role[0]
            waiting.append(message)
            try:
                text = self._render(roles, False)
            except TemplateError:
                continue  # a system message that the template folds into the user's: rendered with the next one
            if text.startswith(done):
                pieces = self._pieces(text[len(done) :], messages, base)
                turns.append(Turn(_strictest(waiting), pieces))
                done, waiting = text, []
        if waiting or reply:
            whole = self._whole(roles, reply)
            if not whole.startswith(done):
                self._refuse(roles, "it rewrites earlier turns when the conversation goes on")
            turns.append(Turn(_strictest(waiting), self._pieces(whole[len(done) :], messages, base)))
            done = whole
        if len(_MARK.findall(done)) != len(roles):
            self._refuse(roles, "it drops or repeats a message")
        return turns

    def _whole(self, roles: str, reply: bool) -> str:
        try:
            return self._render(roles, reply)
        except TemplateError as error:
            self._refuse(roles, str(error))

    def _render(self, roles: str, reply: bool) -> str:
        names = {name[0]: name for name in _ROLES}
        messages = [
            {"role": names[role], "content": f"{_MARK_OPEN}{index}{_MARK_CLOSE}"} for index, role in enumerate(roles)
        ]
        return self._template.render(messages, reply)

    def _split(self, text: str) -> tuple[str, str]:
        """What stands up to the end of the last message's text, and what follows."""
        marks = list(_MARK.finditer(text))
        if not marks:
            self._refuse("ua", "it drops the messages")
        return text[: marks[-1].end()], text[marks[-1].end() :]

    def _pieces(self, text: str, messages: Sequence[Message], base: int) -> tuple[Piece, ...]:
        pieces, at = [], 0
        for mark in _MARK.finditer(text):
            pieces.append(Piece(text[at : mark.start()], True))
            pieces.append(Piece(messages[int(mark.group(1)) - base].content, False))
            at = mark.end()
        pieces.append(Piece(text[at:], True))
        return tuple(pieces)

    def _refuse(self, roles: str, why: str) -> NoReturn:
        named = ", ".join(name for role in roles for name in _ROLES if name[0] == role)
        raise ModelFileError(
            f"The model's chat template cannot render a chat of {named}: {why}. "
            "Leave such messages out, or put a template that can into chat_template.jinja in the model's folder."
        )


class JinjaChat:
    """A chat template as models ship it, rendered in Jinja's sandbox."""

    def __init__(self, source: str, tokens: Mapping[str, str], control: re.Pattern[str]) -> None:
        """`tokens` are variables such as `bos_token`; `control` matches any special token."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise_exception
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ModelFileError(f"The model's chat template is not valid Jinja: {error}. Mend tokenizer_config.json.")  # noqa: B904
        self.source, self.control = source, control
        self._tokens = dict(tokens)

    def render(self, messages: Sequence[Mapping[str, JSON]], reply: bool) -> str:
        """The chat as text; raises `jinja2.TemplateError` when the template refuses the messages."""
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=reply, **self._tokens)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise TemplateError(f"{type(error).__name__}: {error}") from error


def choose_frame(template: JinjaChat | None, control: Sequence[str]) -> ChatFrame:
    """The frame of a model with this template and these special tokens."""
    chatml = CHATML_START in control and CHATML_END in control
    if template is None:
        if chatml:
            return ChatMLFrame()
        raise ModelFileError(
            "The model has no chat template and no ChatML tokens. Put its template into chat_template.jinja "
            "in the model's folder, or choose a model made for chats: llmagentos models list"
        )
    if not chatml or not _writes_chatml(template):
        return TemplateFrame(template)
    return _chatml_with_tools(template)


def _writes_chatml(template: JinjaChat) -> bool:
    messages = [{"role": role, "content": role.upper()} for role in ("system", "user", "assistant", "user")]
    expected = "".join(f"{CHATML_START}{m['role']}\n{m['content']}{CHATML_END}\n" for m in messages)
    try:
        return template.render(messages, True) == f"{expected}{CHATML_START}assistant\n"
    except TemplateError:
        return False


def _chatml_with_tools(template: JinjaChat) -> ChatMLFrame:
    """ChatML with the template's own wrapping of tool results, where it mentions that role by name."""
    if not re.search(r"""['"]tool['"]""", template.source):
        return ChatMLFrame()
    before: list[dict[str, Any]] = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    mark = f"{_MARK_OPEN}0{_MARK_CLOSE}"
    try:
        start = template.render(before, False)
        added = template.render([*before, {"role": "tool", "content": mark}], False).removeprefix(start)
    except TemplateError:
        return ChatMLFrame()
    opened, found, closed = added.partition(mark)
    if not found or not opened.startswith(CHATML_START) or not closed.endswith(f"{CHATML_END}\n"):
        return ChatMLFrame()
    return ChatMLFrame(opened.removeprefix(CHATML_START), closed.removesuffix(f"{CHATML_END}\n"))


def _strictest(messages: Sequence[Message]) -> SegmentOrigin:
    origins = {message_origin(message) for message in messages}
    return next((origin for origin in ("tool", "environment", "history") if origin in origins), "prompt")


def _check_roles(messages: Sequence[Message]) -> None:
    for message in messages:
        if message.role not in _ROLES:
            raise ConfigError(f"Unknown role {message.role!r} of a message. Available: {', '.join(_ROLES)}.")


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
