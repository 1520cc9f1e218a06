"""The support desk's shop: a real SQLite database and the four things a desk can do with it.

In: the rows of one shop, then calls by the name of their function. Out: short JSON results, and the whole
database as text for comparison. It does not know what the right call is, nor who makes it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["packed", "shipped", "delayed", "delivered"]

STATES: tuple[State, ...] = ("packed", "shipped", "delayed", "delivered")

_SCHEMA = """
create table customers (id integer primary key, name text not null, address text not null);
create table policies (category text primary key, days integer not null);
create table products (id integer primary key, name text not null, category text not null references policies,
                       cents integer not null);
create table orders (id text primary key, customer integer not null references customers,
                     product integer not null references products, state text not null, delivered integer,
                     address text not null);
create table tickets (id integer primary key, customer integer not null references customers, state text not null);
create table refunds (id integer primary key, ticket integer not null, orders text not null, cents integer not null);
create table escalations (id integer primary key, ticket integer not null, orders text not null);
create table told (ticket integer not null, orders text not null, fact text not null, checked integer not null);
"""

_TABLES = ("customers", "policies", "products", "orders", "tickets", "refunds", "escalations", "told")


@dataclass(frozen=True, slots=True)
class Order:
    """One row of orders with its product."""

    number: str
    customer: int
    item: str
    category: str
    cents: int
    state: State
    delivered: int | None
    """Day of the delivery, None before it."""
    address: str


@dataclass(frozen=True, slots=True)
class ShopRows:
    """What a shop's database holds before anybody calls."""

    today: int
    """The day on which the ticket is open, in the same count as `Order.delivered`."""
    customers: tuple[tuple[str, str], ...]
    """Name and address; a customer's id is the position, from 1."""
    policies: dict[str, int]
    """Days a refund stays open after delivery, by category of product."""
    orders: tuple[Order, ...]
    ticket_customer: int


class Shop:
    """One shop in memory, with one open ticket (number 1). Not for use by several threads at once."""

    def __init__(self, rows: ShopRows) -> None:
        self.today = rows.today
        self.looked_at: set[str] = set()
        """Orders whose state was asked for."""
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection.executescript(_SCHEMA)
        insert = self._connection.executemany
        insert("insert into customers (name, address) values (?, ?)", rows.customers)
        insert("insert into policies values (?, ?)", rows.policies.items())
        for index, order in enumerate(rows.orders, start=1):
            self._connection.execute(
                "insert into products values (?, ?, ?, ?)", (index, order.item, order.category, order.cents)
            )
            self._connection.execute(
                "insert into orders values (?, ?, ?, ?, ?, ?)",
                (order.number, order.customer, index, order.state, order.delivered, order.address),
            )
        self._connection.execute("insert into tickets values (1, ?, 'open')", (rows.ticket_customer,))

    def call(self, function: str, order: str, address: str = "", topic: str = "") -> str:
        """What the tool `function` (canonical name) answers; an unknown order or topic is an answer, too."""
        row = self._connection.execute(
            "select o.state, o.delivered, p.cents, y.days, o.customer from orders o join products p on p.id = o.product"
            " join policies y on y.category = p.category where o.id = ?",
            (order,),
        ).fetchone()
        if row is None:
            return f"error: no order {order[:20]}, ask the customer"
        state, delivered, cents, days, _ = row
        if function == "status":
            self.looked_at.add(order)
            allowed = {
                "refund": delivered is None or self.today - delivered <= days,
                "address": state == "packed",
                "complaint": False,
            }
            if topic != "state" and topic not in allowed:
                return f"error: the topic must be one of state, {', '.join(allowed)}"
            verdict = {} if topic == "state" else {topic: "allowed" if allowed[topic] else "escalate"}
            return json.dumps({"state": state, **verdict})
        if function == "refund":
            self._connection.execute("insert into refunds (ticket, orders, cents) values (1, ?, ?)", (order, cents))
        elif function == "change_address":
            self._connection.execute("update orders set address = ? where id = ?", (address, order))
        elif function == "escalate":
            self._connection.execute("insert into escalations (ticket, orders) values (1, ?)", (order,))
        else:
            raise ValueError(f"The shop cannot {function!r}.")
        return "ok"

    def tell(self, order: str, facts: str) -> None:
        """Record which states of `order` the customer was told, and whether they had been looked up."""
        self._connection.execute("insert into told values (1, ?, ?, ?)", (order, facts, order in self.looked_at))

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """What is done inside is undone at the end."""
        before = set(self.looked_at)
        self._connection.execute("begin")
        try:
            yield
        finally:
            self._connection.execute("rollback")
            self.looked_at = before

    def close_ticket(self) -> None:
        """The conversation has ended."""
        self._connection.execute("update tickets set state = 'closed' where id = 1")

    def owner_of(self, order: str) -> int | None:
        """The customer whose order this is, None when there is no such order."""
        row = self._connection.execute("select customer from orders where id = ?", (order,)).fetchone()
        return int(row[0]) if row else None

    def dump(self) -> str:
        """Every row of every table, in a fixed order."""
        return json.dumps(
            {table: self._connection.execute(f"select * from {table} order by 1").fetchall() for table in _TABLES}
        )

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()
