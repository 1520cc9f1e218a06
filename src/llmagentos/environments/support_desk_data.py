"""What the support desk's shop is made of: customers, products, streets and the names of its tools.

In: nothing. Out: three disjoint `Pool`s: one for training, one for development and gate, one for the report.
No product, street, phrasing or tool synonym of one pool occurs in another.
It does not know the database, nor which pool a task uses (see `support_desk_scenario`).
"""

from __future__ import annotations

from dataclasses import dataclass

from llmagentos.environments.support_desk_grammar import COMPOSED_TOOLS
from llmagentos.environments.support_desk_phrasings import (
    REPORT_PHRASINGS,
    TRAIN_PHRASINGS,
    TUNE_PHRASINGS,
    Phrasings,
)

CANONICAL_TOOLS = ("status", "refund", "change_address", "escalate")


@dataclass(frozen=True, slots=True)
class Pool:
    """The material of one group of splits."""

    name: str
    residues: tuple[int, ...]
    """Order numbers of this pool are those with one of these remainders modulo 5."""
    customers: tuple[str, ...]
    products: tuple[str, ...]
    streets: tuple[str, ...]
    phrasings: Phrasings
    order_answers: tuple[str, ...]
    address_answers: tuple[str, ...]
    canonical_orders: tuple[tuple[int, int, int, int], ...]
    """Orders of the tool list for prompts with the canonical names."""
    renamed_tools: tuple[tuple[str, str, str, str], ...]
    """Names for status, refund, change_address, escalate; each is one prompt variant."""
    renamed_orders: tuple[tuple[int, int, int, int], ...]
    """Order of the tool list for each entry of `renamed_tools`."""
    synonyms: tuple[tuple[str, ...], ...] = ()
    """Where not empty, other names for each tool, to be combined freely instead of `renamed_tools`."""


TRAIN = Pool(
    name="train",
    residues=(2, 3, 4),
    customers=("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jack", "Kim", "Leo"),
    products=(
        "blue kettle", "desk lamp", "wool scarf", "rain coat", "coffee mug", "garden hose", "phone case", "tea pot",
        "bike helmet", "wall clock", "bread knife", "yoga mat", "toy train", "hair dryer", "camp tent", "red chair",
        "board game", "gold ring", "leather belt", "bath towel", "metal shelf", "running shoes", "paint set", "radio",
    ),
    streets=(
        "Oak Street", "Mill Road", "High Street", "Park Lane", "Station Road", "Church Street", "Green Lane",
        "Lake Drive", "King Street", "Hill Road", "Elm Avenue", "River Street", "Bridge Road", "Maple Drive",
        "West Street", "Rose Lane", "Pine Road", "School Lane", "Queen Street", "Long Road",
    ),
    phrasings=TRAIN_PHRASINGS,
    order_answers=("It is {order}.", "Order {order}.", "{order}.", "Sorry, it's {order}.", "The number is {order}."),
    address_answers=("It is {address}.", "{address}.", "Sorry, it's {address}.", "The new address is {address}."),
    canonical_orders=((0, 1, 2, 3), (1, 3, 0, 2), (3, 2, 1, 0), (2, 0, 3, 1)),
    renamed_tools=(),
    renamed_orders=(),
    synonyms=(
        (
            "lookup", "track", "find_order", "show", "get_order", "order_info", "view", "read_order", "see_order",
            "order_details", "open_order", "check", "locate", "order_data", "display", "lookup_order", "shipment",
            *COMPOSED_TOOLS[0],
        ),
        (
            "pay_back", "return_money", "repay", "money_back", "give_refund", "cash_back", "undo_payment", "credit",
            "refund_customer", "give_money", "refund_now", "payback", "return_cash", "do_refund", "make_refund",
            "refund_payment", "credit_back",
            *COMPOSED_TOOLS[1],
        ),
        (
            "set_address", "move", "new_address", "readdress", "edit_address", "update_address", "fix_address",
            "switch_address", "set_street", "new_street", "ship_to", "deliver_to", "send_to", "set_delivery",
            "update_street", "new_place", "edit_delivery",
            *COMPOSED_TOOLS[2],
        ),
        (
            "to_human", "hand_over", "pass_on", "call_manager", "raise", "forward", "alert", "to_boss", "get_help",
            "call_human", "to_colleague", "human", "call_boss", "give_over", "pass_to_human", "manager", "need_human",
            *COMPOSED_TOOLS[3],
        ),
    ),
)  # fmt: skip

TUNE = Pool(
    name="tune",
    residues=(0,),
    customers=("Mona", "Nils", "Olga", "Paul", "Rita", "Sam", "Tess", "Udo"),
    products=(
        "silver spoon", "picnic basket", "guitar strap", "fish bowl", "snow shovel", "travel pillow", "cheese grater",
        "door bell", "ski gloves", "bird cage", "sun hat", "pepper mill",
    ),
    streets=(
        "Harbour Way", "Cedar Close", "Market Square", "Abbey Court", "Windmill Walk", "Orchard Row", "Castle Terrace",
        "Meadow Crescent", "Canal Side", "Forge Gate",
    ),
    phrasings=TUNE_PHRASINGS,
    order_answers=("That would be {order}.", "I think {order}.", "Here you go: {order}."),
    address_answers=("That would be {address}.", "We live at {address}.", "Here you go: {address}."),
    canonical_orders=((0, 1, 2, 3), (3, 1, 0, 2), (1, 0, 2, 3)),
    renamed_tools=(
        ("check_order", "reimburse", "correct_address", "ask_human"),
        ("inspect", "send_money", "redirect", "involve_staff"),
        ("search", "refund_order", "change_street", "transfer"),
        ("fetch", "return_payment", "put_address", "report"),
        ("trace", "refund_item", "amend_address", "delegate"),
    ),
    renamed_orders=((0, 1, 2, 3), (3, 2, 0, 1), (1, 3, 2, 0), (2, 0, 1, 3), (0, 2, 1, 3)),
)  # fmt: skip

REPORT = Pool(
    name="report",
    residues=(1,),
    customers=("Vera", "Walt", "Xenia", "Yann", "Zoe", "Abel", "Bianca", "Carl"),
    products=(
        "copper pan", "folding table", "baby blanket", "tennis racket", "flower vase", "night light", "wooden spatula",
        "swim goggles", "dog leash", "photo frame", "piano stool", "laptop bag",
    ),
    streets=(
        "Juniper Hollow", "Quarry Bank", "Sunset Boulevard", "Beacon Point", "Tannery Yard", "Vineyard Slope",
        "Chapel Mews", "Falcon Parade", "Heron Quay", "Thistle Grove",
    ),
    phrasings=REPORT_PHRASINGS,
    order_answers=("Let me see, {order}.", "My receipt says {order}.", "You can find it under {order}."),
    address_answers=("Make it {address}.", "My lease says {address}.", "Bring it to {address}."),
    canonical_orders=((0, 1, 2, 3), (2, 3, 1, 0), (1, 2, 3, 0)),
    renamed_tools=(
        ("order_state", "restore_money", "relocate", "notify_human"),
        ("query_order", "pay_customer", "replace_address", "assign_staff"),
        ("look_at", "reverse_payment", "write_address", "human_help"),
        ("where_is", "settle", "address_change", "hand_off"),
        ("progress", "issue_refund", "modify_address", "send_upstairs"),
    ),
    renamed_orders=((0, 1, 2, 3), (1, 0, 3, 2), (3, 0, 2, 1), (2, 1, 0, 3), (0, 3, 1, 2)),
)  # fmt: skip
