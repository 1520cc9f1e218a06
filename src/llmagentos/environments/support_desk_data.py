"""What the support desk's shop and customers are made of: products, streets, tool names and phrasings.

In: nothing. Out: three disjoint `Pool`s: one for training, one for development and gate, one for the report.
No product, street, phrasing or tool synonym of one pool occurs in another.
It does not know the database, nor which pool a task uses (see `support_desk_scenario`).

In a phrasing, a part in angle brackets is left out when the customer forgets what it tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Intent: TypeAlias = Literal["where", "refund", "address", "complaint"]

INTENTS: tuple[Intent, ...] = ("where", "refund", "address", "complaint")

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
    phrasings: dict[Intent, tuple[str, ...]]
    order_answers: tuple[str, ...]
    address_answers: tuple[str, ...]
    canonical_orders: tuple[tuple[int, int, int, int], ...]
    """Orders of the tool list for prompts with the canonical names."""
    renamed_tools: tuple[tuple[str, str, str, str], ...]
    """Names for status, refund, change_address, escalate; each is one prompt variant."""
    renamed_orders: tuple[tuple[int, int, int, int], ...]
    """Order of the tool list for each entry of `renamed_tools`."""


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
    phrasings={
        "where": (
            "Where is my {item}?< Order {order}.>",
            "Has my {item} left your shop yet?< The number is {order}.>",
            "I'm still waiting for the {item}.< Order {order}.> When will it come?",
            "Can you tell me what is happening with my {item}<, order {order}>?",
            "Any news about <order {order}, >the {item}?",
            "My {item} has not arrived.< My order is {order}.> Where is it?",
            "Please track <order {order}, >my {item}.",
            "How far is my {item}?< It's order {order}.>",
            "I'd like to know the state of my {item} order<, number {order}>.",
            "Did you send the {item} already<, order {order}>?",
            "Hello, what is the status of <order {order}, >the {item}?",
            "I bought a {item} last week.< Order {order}.> Where is it now?",
            "Is the {item} on its way<, order {order}>?",
            "Checking in on the {item}<, {order}>. Is there any progress?",
        ),
        "refund": (
            "I want my money back for the {item}.< Order {order}.>",
            "Please refund the {item}<, order {order}>.",
            "The {item} is not what I hoped for.< Order {order}.> Can I return it?",
            "I'd like to return the {item}<, number {order}>.",
            "Can I get a refund for <order {order}, >the {item}?",
            "The {item} broke after a day.< It was order {order}.> I want a refund.",
            "I changed my mind about the {item}<, order {order}>. Please pay me back.",
            "My {item} is too small.< My order is {order}.> I'm sending it back, please refund.",
            "Give me back what I paid for the {item}<, order {order}>.",
            "I don't like the {item}.< The number is {order}.> Money back, please.",
            "How do I get a refund on my {item}<, {order}>?",
            "The {item} came damaged<, order {order}>. I'd like to be refunded.",
            "Take the {item} back, please<: order {order}>. I want what I paid.",
            "I no longer need the {item}.< Order {order}.> Can you return my money?",
        ),
        "address": (
            "Please change the address for my {item}<, order {order}>.< The new one is {address}.>",
            "I have moved.< Order {order}.> Please send the {item} to my new home<, {address}>.",
            "Can you ship the {item} to another address<, {address}>?< Order {order}.>",
            "The address on my {item} order is wrong<, number {order}>.< It should be {address}.>",
            "I need my {item} sent to a different place<: {address}>.< My order is {order}.>",
            "Could you update the delivery address of the {item}< to {address}>?< Order {order}.>",
            "I gave the wrong street for my {item}<, order {order}>.< Please use {address}.>",
            "New address for <order {order}, >the {item}, please<: {address}>.",
            "My {item} should go to my office<, {address}>.< It's order {order}.> Please change it.",
            "Please deliver <order {order}, >the {item}, somewhere else<: {address}>.",
            "We are moving.< The number is {order}.> Change where the {item} goes, please<: {address}>.",
            "I'd like a new delivery address for my {item}<, {address}>.< It was order {order}.>",
            "There is a mistake in the address for my {item}<, {order}>.< I live at {address}.>",
            "Don't send the {item} to the old address<, order {order}>.< Send it to {address}.>",
        ),
        "complaint": (
            "My lawyer will hear about this {item}<, order {order}>!",
            "I will sue you over the {item}.< Order {order}.>",
            "I'm taking you to court for the {item}<, order {order}>.",
            "You will get a letter from my lawyer about the {item}.< The number is {order}.>",
            "I'll go to the police because of the {item}<, {order}>.",
            "The {item} burned my hand.< Order {order}.>",
            "I cut myself badly on the {item}<, order {order}>.",
            "My son got hurt by the {item}.< My order is {order}.>",
            "The {item} gave me an electric shock<, order {order}>.",
            "The {item} caught fire and I was injured.< It was order {order}.>",
            "You charged me twice for the {item}<, order {order}>.",
            "I paid two times for the {item}.< It's order {order}.>",
            "My card shows the {item} twice<, number {order}>.",
            "There are two payments for one {item}<, order {order}>.",
            "The {item} was billed double.< Order {order}.>",
        ),
    },
    order_answers=("It is {order}.", "Order {order}.", "{order}.", "Sorry, it's {order}.", "The number is {order}."),
    address_answers=("It is {address}.", "{address}.", "Sorry, it's {address}.", "The new address is {address}."),
    canonical_orders=((0, 1, 2, 3), (1, 3, 0, 2), (3, 2, 1, 0), (2, 0, 3, 1)),
    renamed_tools=(
        ("lookup", "pay_back", "set_address", "to_human"),
        ("track", "return_money", "move", "hand_over"),
        ("find_order", "repay", "new_address", "pass_on"),
        ("show", "money_back", "readdress", "call_manager"),
        ("get_order", "give_refund", "edit_address", "raise"),
        ("order_info", "cash_back", "update_address", "forward"),
        ("view", "undo_payment", "fix_address", "alert"),
        ("read_order", "credit", "switch_address", "to_boss"),
    ),
    renamed_orders=(
        (0, 1, 2, 3), (2, 1, 3, 0), (3, 0, 1, 2), (1, 2, 0, 3), (0, 3, 2, 1), (2, 3, 0, 1), (1, 0, 3, 2), (3, 1, 2, 0),
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
    phrasings={
        "where": (
            "It's been days and no parcel with the {item}.< I have number {order}.> What's going on?",
            "Could you find out how my {item} delivery stands<; that's {order}>?",
            "I'd love to learn the whereabouts of a {item}<: {order}>.",
            "My {item} seems lost in the mail.< Purchase {order}.> Any idea?",
            "When can I expect the {item}?< I ordered under {order}.>",
            "Give me an update on my {item}<, reference {order}>.",
        ),
        "refund": (
            "This {item} disappoints me<; purchase {order}>. Kindly reimburse me.",
            "Could I hand the {item} back and be repaid?< I have number {order}.>",
            "I regret buying the {item}<, reference {order}>. Send the payment back to my card.",
            "The {item} has a scratch.< Bought as {order}.> I expect my cash returned.",
            "Wrong colour! I'll mail the {item} back to be paid out<; that's {order}>.",
            "A {item} like this isn't worth it.< I ordered under {order}.> Reimbursement, please.",
        ),
        "address": (
            "I switched flats, so redirect the {item}<, reference {order}>.< I'm at {address} now.>",
            "The parcel with the {item} must reach my sister instead<; she lives at {address}>.< Purchase {order}.>",
            "Oops, I typed my old street when buying the {item}<; that's {order}>.< Correct is {address}.>",
            "Can the {item} be forwarded elsewhere<, namely {address}>?< I have number {order}.>",
            "I'll be staying with a friend.< I ordered under {order}.> Drop the {item} there<: {address}>.",
            "Kindly fix the destination of my {item}<; it's {address}>.< Bought as {order}.>",
        ),
        "complaint": (
            "Expect my attorney's call regarding the {item}<, reference {order}>.",
            "I shall start legal action because of the {item}.< Purchase {order}.>",
            "The {item} exploded and my daughter is in hospital<; that's {order}>.",
            "Using the {item} broke my finger.< Bought as {order}.>",
            "The same {item} was debited from my account two times over<; I have {order}>.",
            "Why is there a second charge for my {item}?< I ordered under {order}.>",
        ),
    },
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
    phrasings={
        "where": (
            "Nothing has turned up at my door: a {item}<, no. {order}>. Where did it go?",
            "Do you know if my {item} was dispatched?< See {order}.>",
            "I keep looking out for the {item}.< Confirmation {order}.> How long still?",
            "What stage is my {item} at?< Mine is {order}.>",
            "Can someone look into my missing {item}<, code {order}>?",
            "Has the courier picked up the {item}<, sale {order}>?",
        ),
        "refund": (
            "The {item} just doesn't suit me<, no. {order}>. Credit me the price, please.",
            "I'm unhappy with the {item}.< See {order}.> How do I get the price back?",
            "Let me give up the {item} and have the amount again<; sale {order}>.",
            "Your {item} stopped working.< Confirmation {order}.> I'd rather have the cash.",
            "Can you cancel my purchase of the {item} and repay it<, code {order}>?",
            "My wife already has a {item}.< Mine is {order}.> May I bring it back for my money?",
        ),
        "address": (
            "Our house is sold.< See {order}.> Bring the {item} to the next one<, {address}>.",
            "Reroute my {item}, please<, code {order}>.< It belongs at {address}.>",
            "I mixed up the postcode for the {item}<, no. {order}>.< Put down {address}.>",
            "Would you swap the shipping details on my {item}< for {address}>?< Mine is {order}.>",
            "My {item} is heading to my ex.< Confirmation {order}.> I need it at my own place<, {address}>.",
            "Let the {item} arrive at my workplace<: {address}>.< Sale {order}.>",
        ),
        "complaint": (
            "See you before a judge about the {item}<, no. {order}>.",
            "My solicitor is preparing a claim over your {item}.< Confirmation {order}.>",
            "I'm bleeding because the {item} splintered<, code {order}>.",
            "The {item} made my grandmother fall and she needs a doctor.< See {order}.>",
            "Your bank entry for the {item} appears in duplicate<; sale {order}>.",
            "You took the money for my {item} once too often.< Mine is {order}.>",
        ),
    },
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
