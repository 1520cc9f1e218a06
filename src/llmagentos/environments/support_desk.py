"""SupportDesk-v0: a shop's support desk over a real database, with a customer who answers questions.

In: the agent's replies, each a tool call or a message to the customer. Out: short observations; success means
that the database afterwards equals the right one, with nothing else changed and nobody else's order looked at.
It does not know who plays, nor how the score is used.
"""

from __future__ import annotations

from typing import Any, cast

from llmagentos.environments.language import (
    LanguageEnvironment,
    Policy,
    StepResult,
    check_action,
    check_options,
    check_split,
    read_choices,
)
from llmagentos.environments.support_desk_baselines import expert_calls, expert_closing, expert_policy
from llmagentos.environments.support_desk_customer import READ_CHARACTERS, Customer
from llmagentos.environments.support_desk_data import CANONICAL_TOOLS
from llmagentos.environments.support_desk_phrasings import INTENTS
from llmagentos.environments.support_desk_scenario import DeskPolicy, Scenario, make_scenario
from llmagentos.environments.support_desk_shop import STATES, Shop
from llmagentos.errors import ConfigError
from llmagentos.programs.parsing import parse_call
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.task import Task

NAME = "SupportDesk-v0"
MAX_ACTIONS = 6

INSTRUCTIONS = (
    "You work at a shop's support desk. Look up an order before you act. A legal threat, an injury and a double charge "
    "are complaints. Ask for what is missing."
)

_ARGUMENTS: dict[str, dict[str, JSON]] = {
    "status": {
        "order": {"type": "string"},
        "topic": {"type": "string", "enum": ["state", "refund", "address", "complaint"]},
    },
    "refund": {"order": {"type": "string"}},
    "change_address": {"order": {"type": "string"}, "address": {"type": "string"}},
    "escalate": {"order": {"type": "string"}},
}

_DESCRIPTIONS = {
    "status": "look up",
    "refund": "refund",
    "change_address": "address",
    "escalate": "escalate",
}
"""In the words of the instructions and of the tools' answers, so that the right line is found by its words."""


class SupportDesk(LanguageEnvironment):
    """The support desk.

    Options, of the constructor or of a task: `intents` (a list or a comma-separated text of where, refund,
    address, complaint), `renamed` (share of tasks with renamed tools, in [0, 1]) and `policy`
    (`generous` refunds also when the window is closed).
    """

    reply_tokens = 48

    def __init__(self, **options: JSON) -> None:
        super().__init__(NAME)
        self._options = options
        _read_options(options)
        self._scenario: Scenario | None = None
        self._shop: Shop | None = None

    @property
    def task_options(self) -> dict[str, JSON]:
        return dict(self._options)

    def expert(self, task: Task) -> Policy:
        """The scripted expert; it plays every task perfectly."""
        return expert_policy(make_scenario(task.seed, task.split, **_read_options({**self._options, **task.options})))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = {**self._options, **(options or {})}
        split = check_split(chosen.pop("split", "train"))
        number = seed if seed is not None else int(self.np_random.integers(2**31))
        self.close()
        self._scenario = scenario = make_scenario(number, split, **_read_options(chosen))
        self._shop = Shop(scenario.rows)
        self._customer = Customer(scenario)
        self._right = _right_database(self._shop, scenario)
        self._specs = tool_specs(scenario)
        self._actions, self._well_formed, self._running = 0, True, True
        return scenario.message, {"instructions": INSTRUCTIONS, "tools": self._specs}

    def step(self, action: str) -> StepResult:
        text = check_action(self.name, action, self._shop is not None and self._running)
        self._actions += 1
        parsed = parse_call(text, [spec.name for spec in self._specs])
        self._well_formed &= parsed.well_formed
        if parsed.call is not None:
            answer: str | None = self._use_tool(parsed.call)
        elif parsed.error:
            answer = "error: no such tool call"
        else:
            answer = self._customer.answer(text)
            if answer is None:
                return self._finish(text)
        if self._actions >= MAX_ACTIONS:
            self._running = False
            return str(answer), 0.0, False, True, {"success": False, "lenient": False}
        return str(answer), 0.0, False, False, {}

    def close(self) -> None:
        if self._shop is not None:
            self._shop.close()
            self._shop = None

    def database(self) -> str:
        """Every row of the running or last episode's shop, for tests and curious people."""
        return self._shop.dump() if self._shop is not None else ""

    def _use_tool(self, call: ToolCall) -> str:
        scenario, shop = self._playing()
        function = CANONICAL_TOOLS[scenario.tools.index(call.name)]
        wanted = tuple(_ARGUMENTS[function])
        if set(call.arguments) != set(wanted):
            self._well_formed = False
            return f"error: {call.name} needs {' and '.join(wanted)}"
        values = [call.arguments[name] for name in wanted]
        if not all(isinstance(value, str) for value in values):
            self._well_formed = False
        if not all(isinstance(value, str | int) for value in values):
            return f"error: {' and '.join(wanted)} must be text"
        texts = (str(value)[:READ_CHARACTERS] for value in values)
        return shop.call(function, **dict(zip(wanted, texts, strict=True)))

    def _finish(self, message: str) -> StepResult:
        scenario, shop = self._playing()
        if scenario.intent == "where":
            shop.tell(scenario.order.number, facts_in(message))
        shop.close_ticket()
        pried = any(shop.owner_of(order) != scenario.order.customer for order in shop.looked_at)
        reached = shop.dump() == self._right and not pried
        success = reached and self._well_formed
        self._running = False
        return "", float(success), True, False, {"success": success, "lenient": reached}

    def _playing(self) -> tuple[Scenario, Shop]:
        if self._scenario is None or self._shop is None:
            raise RuntimeError("A step got past the check that an episode is running.")
        return self._scenario, self._shop


def facts_in(message: str) -> str:
    """The states of an order that `message` names, sorted; naming several is telling none of them."""
    words = "".join(letter if letter.isalpha() else " " for letter in message[:READ_CHARACTERS].lower()).split()
    return ",".join(sorted(set(words) & set(STATES)))


def tool_specs(scenario: Scenario) -> tuple[ToolSpec, ...]:
    """What the agent is told about its tools, under this scenario's names and in its order."""
    return tuple(
        ToolSpec(
            scenario.tools[index],
            _DESCRIPTIONS[CANONICAL_TOOLS[index]],
            {
                "type": "object",
                "properties": _ARGUMENTS[CANONICAL_TOOLS[index]],
                "required": list(_ARGUMENTS[CANONICAL_TOOLS[index]]),
            },
            effect=CANONICAL_TOOLS[index] != "status",
        )
        for index in scenario.tool_order
    )


def _right_database(shop: Shop, scenario: Scenario) -> str:
    """The dump that `shop` would have after the expert handled the case; `shop` itself is unchanged."""
    with shop.rehearsal():
        for call in expert_calls(scenario):
            shop.call(CANONICAL_TOOLS[scenario.tools.index(call.name)], **call.arguments)
        if scenario.intent == "where":
            shop.tell(scenario.order.number, facts_in(expert_closing(scenario)))
        shop.close_ticket()
        return shop.dump()


def _read_options(options: dict[str, JSON]) -> dict[str, Any]:
    """Arguments of `make_scenario`; `ConfigError` for what the desk does not know."""
    check_options(NAME, options, ("intents", "renamed", "policy"))
    read: dict[str, Any] = {}
    if "intents" in options:
        read["intents"] = read_choices(NAME, "intents", options["intents"], INTENTS)
    if "renamed" in options:
        share = options["renamed"]
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigError(f"{NAME}: renamed={share!r}. Give a share from 0 to 1.")
        read["renamed"] = float(share)
    if "policy" in options:
        if options["policy"] not in ("standard", "generous"):
            raise ConfigError(f"{NAME}: policy={options['policy']!r}. Choose standard or generous.")
        read["policy"] = cast("DeskPolicy", options["policy"])
    return read
