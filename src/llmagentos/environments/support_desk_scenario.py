"""One support case, made from a seed: the shop, the customer's request and the right way to handle it.

In: seed, split and options. Out: a `Scenario`, the same for the same input on every machine.
It does not run anything; `support_desk` does.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from llmagentos.environments.support_desk_data import CANONICAL_TOOLS, REPORT, TRAIN, TUNE, Pool
from llmagentos.environments.support_desk_phrasings import INTENTS, Intent
from llmagentos.environments.support_desk_shop import Order, ShopRows, State
from llmagentos.records.task import Split

DeskPolicy: TypeAlias = Literal["standard", "generous"]

Missing: TypeAlias = Literal["", "order", "address"]

POOLS: dict[Split, Pool] = {"train": TRAIN, "development": TUNE, "gate": TUNE, "report": REPORT}

INTENT_WEIGHTS: dict[Intent, int] = {"where": 20, "refund": 35, "address": 25, "complaint": 20}
"""Shares in percent; refund and address have two outcomes each and so more cases."""
TRAIN_WEIGHTS: dict[Intent, int] = {"where": 23, "refund": 22, "address": 25, "complaint": 30}
"""Training meets more of what is hard: complaints are told in the most different ways."""

MISSING_SHARE: dict[Split, float] = {"train": 0.45, "development": 1 / 3, "gate": 1 / 3, "report": 1 / 3}
NAMES_SHARED = 4
"""So many neighbouring training cases have the same tools, so that their prompt is computed once in a batch."""
RENAMED_SHARE: dict[Split, float] = {"train": 0.75, "development": 0.4, "gate": 0.4, "report": 0.4}

_CATEGORIES = {"home": 30, "fashion": 14, "sport": 60, "fun": 21}
_TODAY = 1000


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything about one case."""

    rows: ShopRows
    order: Order
    """The order that the request is about."""
    intent: Intent
    message: str
    """The customer's first message."""
    missing: Missing
    """What the customer left out."""
    order_answer: str
    """What the customer says when asked for the order number."""
    address_answer: str
    address: str
    """The new address of an address request, else empty."""
    tools: tuple[str, str, str, str]
    """Names of status, refund, change_address and escalate in this task."""
    tool_order: tuple[int, int, int, int]
    """Positions into `tools` as listed to the agent."""
    outcome: Literal["tell", "refund", "change", "escalate"]
    """What the desk's policy asks for."""


def make_scenario(
    seed: int,
    split: Split = "train",
    *,
    intents: tuple[Intent, ...] = INTENTS,
    renamed: float | None = None,
    policy: DeskPolicy = "standard",
) -> Scenario:
    """The case number `seed` of `split`; `renamed` overrides the share of tasks with renamed tools."""
    pool = POOLS[split]
    chance = random.Random(f"SupportDesk-v0/{split}/{seed}")
    share = RENAMED_SHARE[split] if renamed is None else renamed
    # Names have a stream of their own, so that the case does not depend on them; neighbours in training share them.
    names = random.Random(f"SupportDesk-v0/tools/{split}/{seed // NAMES_SHARED if pool.synonyms else seed}")
    tools, tool_order = _tools(pool, names.random() < share, names)
    weights = TRAIN_WEIGHTS if split == "train" else INTENT_WEIGHTS
    intent = chance.choices(intents, [weights[name] for name in intents])[0]
    wanted_open, wanted_packed = chance.random() < 0.5, chance.random() < 0.5
    customers = tuple((name, _address(pool, chance)) for name in chance.sample(pool.customers, 6))
    caller = chance.randrange(1, 7)
    order = _order(pool, caller, customers, _case_state(intent, wanted_packed, chance), chance)
    if intent == "refund":
        order = _with_window(order, wanted_open, chance)
    others = _other_orders(pool, order, customers, chance)
    rows = ShopRows(_TODAY, customers, _CATEGORIES, tuple(chance.sample([order, *others], 1 + len(others))), caller)
    address = _address(pool, chance) if intent == "address" else ""
    missing: Missing = ""
    if chance.random() < MISSING_SHARE[split]:
        missing = "address" if intent == "address" and chance.random() < 0.5 else "order"
    said = pool.phrasings
    sentence = chance.choice(said.openings) + chance.choice(said.sentences[intent])
    phrasing = sentence.replace("@", f"<{chance.choice(said.mentions)}>")
    return Scenario(
        rows=rows,
        order=order,
        intent=intent,
        message=_say(phrasing, order, address, missing),
        missing=missing,
        order_answer=chance.choice(pool.order_answers).format(order=order.number),
        address_answer=chance.choice(pool.address_answers).format(address=address),
        address=address,
        tools=tools,
        tool_order=tool_order,
        outcome=_outcome(intent, order, policy),
    )


def window_open(order: Order) -> bool:
    """Whether the shop's policy still allows a refund of `order`."""
    return order.delivered is None or _TODAY - order.delivered <= _CATEGORIES[order.category]


def _outcome(intent: Intent, order: Order, policy: DeskPolicy) -> Literal["tell", "refund", "change", "escalate"]:
    if intent == "where":
        return "tell"
    if intent == "refund":
        return "refund" if policy == "generous" or window_open(order) else "escalate"
    if intent == "address":
        return "change" if order.state == "packed" else "escalate"
    return "escalate"


def _tools(
    pool: Pool, renamed: bool, chance: random.Random
) -> tuple[tuple[str, str, str, str], tuple[int, int, int, int]]:
    if renamed:
        if pool.synonyms:
            first, second, third, fourth = (chance.choice(names) for names in pool.synonyms)
            order = chance.sample(range(4), 4)
            return (first, second, third, fourth), (order[0], order[1], order[2], order[3])
        variant = chance.randrange(len(pool.renamed_tools))
        return pool.renamed_tools[variant], pool.renamed_orders[variant]
    return CANONICAL_TOOLS, chance.choice(pool.canonical_orders)


def _case_state(intent: Intent, wanted_packed: bool, chance: random.Random) -> State:
    if intent == "where":
        return chance.choice(cast("list[State]", ["packed", "shipped", "delayed", "delivered"]))
    if intent == "address":
        later = cast("list[State]", ["shipped", "delayed", "delivered"])
        return "packed" if wanted_packed else chance.choice(later)
    return "delivered"


def _address(pool: Pool, chance: random.Random) -> str:
    return f"{chance.randrange(1, 100)} {chance.choice(pool.streets)}"


def _order(
    pool: Pool, customer: int, customers: tuple[tuple[str, str], ...], state: State, chance: random.Random
) -> Order:
    number = chance.randrange(200, 2000) * 5 + chance.choice(pool.residues)
    return Order(
        number=str(number),
        customer=customer,
        item=chance.choice(pool.products),
        category=chance.choice(sorted(_CATEGORIES)),
        cents=chance.randrange(500, 20000, 5),
        state=state,
        delivered=_TODAY - chance.randrange(1, 90) if state == "delivered" else None,
        address=customers[customer - 1][1],
    )


def _with_window(order: Order, wanted_open: bool, chance: random.Random) -> Order:
    """`order`, delivered so long ago that the window is as wanted; an open one may also be still on its way."""
    days = _CATEGORIES[order.category]
    state: State = "delivered"
    delivered: int | None = _TODAY - (chance.randrange(1, days + 1) if wanted_open else days + chance.randrange(1, 60))
    if wanted_open and chance.random() < 0.25:
        state, delivered = chance.choice(cast("list[State]", ["shipped", "delayed"])), None
    return Order(order.number, order.customer, order.item, order.category, order.cents, state, delivered, order.address)


def _other_orders(
    pool: Pool, order: Order, customers: tuple[tuple[str, str], ...], chance: random.Random
) -> list[Order]:
    """Eight more orders, one of them by the same customer; numbers and items all differ."""
    numbers, items, others = {order.number}, {order.item}, []
    owners = [order.customer, *(chance.randrange(1, 7) for _ in range(7))]
    while owners:
        state: State = chance.choice(cast("list[State]", ["packed", "shipped", "delayed", "delivered"]))
        other = _order(pool, owners[-1], customers, state, chance)
        if other.number in numbers or other.item in items:
            continue
        numbers.add(other.number)
        items.add(other.item)
        others.append(other)
        owners.pop()
    return others


def _say(phrasing: str, order: Order, address: str, missing: Missing) -> str:
    """The phrasing filled in, without the part that tells what is missing."""

    def keep(match: re.Match[str]) -> str:
        part = match.group(1)
        return "" if missing and "{" + missing + "}" in part else part

    return re.sub("<([^<>]*)>", keep, phrasing).format(item=order.item, order=order.number, address=address)
