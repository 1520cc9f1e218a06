"""What the support desk's customers say: three disjoint sets of sentences.

In: nothing. Out: for training, for development and gate, and for the report, the sentences of each intent, the ways to
mention an order and the ways to begin. No sentence of one set occurs in another.
It does not know shops, tools or which set a task uses.

In a sentence, `{item}` is the product, `@` where the order is mentioned (left out when the customer forgets it), and a
part in angle brackets tells the new address (left out likewise).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmagentos.environments.support_desk_grammar import COMPOSED

Intent: TypeAlias = Literal["where", "refund", "address", "complaint"]

INTENTS: tuple[Intent, ...] = ("where", "refund", "address", "complaint")


@dataclass(frozen=True, slots=True)
class Phrasings:
    """The sentences of one group of splits."""

    openings: tuple[str, ...]
    mentions: tuple[str, ...]
    """With `{order}`, beginning with a space or a comma."""
    sentences: dict[Intent, tuple[str, ...]]


TRAIN_PHRASINGS = Phrasings(
    openings=(
        "", "", "", "", "", "", "Hello. ", "Hi. ", "Hi there. ", "Good morning. ", "Hey. ", "Good evening. ",
        "Hello, I need help. ", "A quick question. ", "Please help me. ", "Dear shop. ",
    ),
    mentions=(
        " Order {order}.", " My order is {order}.", " The number is {order}.", " It's order {order}.",
        " It was order {order}.", " Order number {order}.", " My order number is {order}.", " Number {order}.",
        " (order {order})", " Order: {order}.", " That is order {order}.", " It has the number {order}.",
        " {order} is the order.", " The order number is {order}.", " I ordered it under number {order}.",
        " #{order}", " It is {order}.", " For order {order}.", " The invoice shows {order}.", " Reference {order}.",
        " Ticket {order}.", " I see {order} on the bill.", " In your mail it is {order}.", " Purchase {order}.",
        " The label says number {order}.", " You wrote {order}.", ", that is {order}.",
    ),
    sentences={
        "where": (
            *COMPOSED["where"],
            "Where is my {item}?@", "Has my {item} left your shop yet?@", "I'm still waiting for the {item}.@",
            "Can you tell me what is happening with my {item}?@", "Any news about the {item}?@",
            "My {item} has not arrived.@", "My {item} has not come.@ Where is it?", "Please track my {item}.@",
            "How far is my {item}?@", "I'd like to know the state of my {item} order.@",
            "Did you send the {item} already?@", "What is the status of the {item}?@",
            "I bought a {item} last week.@ Where is it now?", "Is the {item} on its way?@",
            "Checking in on the {item}.@ Is there any progress?", "When will the {item} be here?@",
            "When does my {item} arrive?@", "How long will the {item} take?@", "I have been waiting for my {item}.@",
            "The {item} is late.@ Where is it?", "I never got my {item}.@", "No {item} so far.@ What is going on?",
            "Could you check on the delivery of my {item}?@", "Can you look up my {item}?@",
            "Was the {item} shipped?@", "Has the {item} been sent?@", "I want to know where the {item} is.@",
            "Tell me where my {item} is, please.@", "Is there an update on the {item}?@",
            "I need to know when the {item} comes.@", "My {item} should be here by now.@",
            "What happened to my {item}?@", "Did my {item} get lost?@", "Is my {item} still in the store?@",
            "Do you know when I get the {item}?@", "Where can I see how far the {item} is?@",
            "The {item} was promised for today.@ Is it coming?", "I ordered a {item} and hear nothing.@",
            "Could you find my parcel with the {item}?@", "Is the package with the {item} coming soon?@",
            "Can I expect the {item} this week?@", "Please tell me the status of my {item}.@",
            "I have heard nothing about my {item}.@",
            "It is two weeks now and I have no {item}.@",
            "My {item} was ordered a month ago.@ Why is it not here?",
            "Can you see where my parcel with the {item} is?@",
            "I wonder when the {item} will arrive.@",
            "Has anything happened with my {item}?@",
            "Could you tell me if the {item} is on the way?@",
            "Update me on the {item}.@",
            "The {item} is missing.@ Where could it be?",
            "Any sign of my {item}?@",
        ),
        "refund": (
            *COMPOSED["refund"],
            "I want my money back for the {item}.@", "Please refund the {item}.@",
            "The {item} is not what I hoped for.@ Can I return it?", "I'd like to return the {item}.@",
            "Can I get a refund for the {item}?@", "The {item} broke after a day.@ I want a refund.",
            "I changed my mind about the {item}.@ Please pay me back.",
            "My {item} is too small.@ I'm sending it back, please refund.", "Give me back what I paid for the {item}.@",
            "I don't like the {item}.@ Money back, please.", "How do I get a refund on my {item}?@",
            "The {item} came damaged.@ I'd like to be refunded.", "Take the {item} back, please.@",
            "I no longer need the {item}.@ Can you return my money?", "The {item} does not work.@ Refund me, please.",
            "The {item} is broken.@ I want my money.", "I am not happy with the {item}.@ I want to give it back.",
            "Can I send the {item} back?@", "Could you refund me for the {item}?@",
            "I wish to return my {item} for a refund.@", "The {item} is the wrong colour.@ I want to return it.",
            "The {item} doesn't fit.@ Can I have my money back?",
            "I got a {item} as a gift already.@ Please take it back.",
            "The {item} is bad quality.@ I want the money back.",
            "My {item} stopped after two days.@ Pay me back, please.",
            "I'd like my payment for the {item} returned.@", "Please give me a refund.@ The {item} is not for me.",
            "I want to cancel the {item} and get my money.@", "Refund for the {item}, please.@",
            "What must I do to return the {item}?@", "I bought the wrong {item}.@ Can you refund it?",
            "The {item} looks used.@ I ask for a refund.", "The {item} has a hole.@ I want it refunded.",
            "The {item} is too big for my room.@ Can you take it back?",
            "I ordered two by mistake.@ Please refund the {item}.",
            "I would like to have the price of the {item} back.@", "This {item} is useless.@ Return my money.",
            "The {item} makes a strange noise.@ I'd like to send it back.",
            "My wife hates the {item}.@ We want to return it.",
            "Please pay back the {item}.@", "The {item} is not as in the picture.@ Can I return it?",
            "I found the {item} cheaper.@ I want to give mine back.",
            "I am disappointed by the {item}.@ Money back, please.",
            "Do you accept the {item} back?@ I want a refund.",
            "Will you take my {item} back and give me the money?@",
            "I don't want the {item} any more.@",
            "The {item} isn't what I paid for.@ Refund it.",
            "The {item} arrived broken.@ I want what I paid back.",
            "It is too expensive for such a {item}.@ I return it.",
            "I'd like to bring the {item} back.@",
            "The {item} has a fault.@ Give me my money back.",
            "I am sending the {item} back.@ Repay me, please.",
        ),
        "address": (
            *COMPOSED["address"],
            "Please change the address for my {item}.@< The new one is {address}.>",
            "I have moved.@ Please send the {item} to my new home<, {address}>.",
            "Can you ship the {item} to another address<, {address}>?@",
            "The address on my {item} order is wrong.@< It should be {address}.>",
            "I need my {item} sent to a different place<: {address}>.@",
            "Could you update the delivery address of the {item}< to {address}>?@",
            "I gave the wrong street for my {item}.@< Please use {address}.>",
            "New address for the {item}, please<: {address}>.@",
            "My {item} should go to my office<, {address}>.@ Please change it.",
            "Please deliver the {item} somewhere else<: {address}>.@",
            "We are moving.@ Change where the {item} goes, please<: {address}>.",
            "I'd like a new delivery address for my {item}<, {address}>.@",
            "There is a mistake in the address for my {item}.@< I live at {address}.>",
            "Don't send the {item} to the old address.@< Send it to {address}.>",
            "Can I change where you deliver the {item}?@< I want it at {address}.>",
            "Please send my {item} to my new street.@< The street is {address}.>",
            "I live somewhere else now.@< It is {address}.> Please bring the {item} there.",
            "My street changed.@ The {item} must go to the new one<, {address}>.",
            "Wrong address on the {item}!@< Correct it to {address}, please.>",
            "Please correct the address of my {item}.@< Right is {address}.>",
            "Could the {item} come to my work<, {address}>?@", "Send the {item} to my mother<, {address}>, please.@",
            "I need to change the shipping address of the {item}.@< Make it {address}.>",
            "The {item} will go to the wrong house.@< I am at {address}.> Please change that.",
            "Is it possible to deliver my {item} to a new address<, {address}>?@",
            "I forgot to tell you that I moved.@< Ship the {item} to {address}.>",
            "Change the address, please.@< The {item} goes to {address}.>",
            "I want the {item} at another address<: {address}>.@",
            "The {item} is a gift.@ Please ship it to my friend<, {address}>.",
            "You have my old address for the {item}.@< Take {address}.>",
            "Please update my address before you send the {item}.@< I'm now at {address}.>",
            "My {item} is going to my old flat.@< I need it at {address}.>",
            "Use a different address for the {item}.@< Use {address}.>",
            "I made an error in the address of my {item}.@< I meant {address}.>",
            "Put a new address on the {item}<: {address}>.@",
            "Can you still change the address of the {item}?@< To {address}, please.>",
            "I won't be home, so bring the {item} to my neighbour.@< That is {address}.>",
            "Please note my new address for the {item}.@< {address}.>",
            "I wrote an old address for the {item}.@< Here is the right one: {address}.>",
            "Oh no, the {item} goes to my former home.@< My home is {address}.>",
            "Please let the {item} go to my brother<, {address}>.@",
            "Can my parcel with the {item} go to my parents<, at {address}>?@",
            "I am at a new flat now.@< Its address is {address}.> Send the {item} there.",
            "I'm staying elsewhere this month.@< Bring the {item} to {address}.>",
            "Please fix the street for my {item}.@< It is {address}.>",
            "Another delivery address for the {item}, please<: {address}>.@",
            "The street of my {item} order is wrong.@< It must be {address}.>",
            "Deliver my {item} to my new house<, {address}>.@",
            "I wrote the wrong house number for the {item}.@< Right is {address}.>",
            "My {item} must be delivered to a friend<, who lives at {address}>.@",
        ),
        "complaint": (
            *COMPOSED["complaint"],
            "My lawyer will hear about this {item}!@", "I will sue you over the {item}.@",
            "I'm taking you to court for the {item}.@", "You will get a letter from my lawyer about the {item}.@",
            "I'll go to the police because of the {item}.@", "The {item} burned my hand.@",
            "I cut myself badly on the {item}.@", "My son got hurt by the {item}.@",
            "The {item} gave me an electric shock.@", "The {item} caught fire and I was injured.@",
            "I paid two times for the {item}.@",
            "My card shows the {item} twice.@", "There are two payments for one {item}.@",
            "The {item} was billed double.@", "I was hurt by the {item}.@", "The {item} fell on my foot and broke it.@",
            "My child is in hospital because of the {item}.@", "The {item} made me ill.@",
            "My lawyer says the {item} is a case for the court.@", "I'm going to take legal steps about the {item}.@",
            "See you in court because of the {item}.@", "My lawyer is writing to you about the {item}.@",
            "I have told my lawyer about the {item}.@", "I was charged double for the {item}.@",
            "You took the money for the {item} two times.@", "Two charges for the same {item}!@",
            "My bank says that you took the price of the {item} twice.@", "I see a double charge for my {item}.@",
            "The {item} was paid once but charged twice.@", "My wife was injured by the {item}.@",
            "The {item} blew up in my face.@", "The {item} burnt my kitchen and my arm.@",
            "My dog was hurt by the {item}.@", "I got a bad cut from the {item}.@",
            "I need a doctor because of your {item}.@", "The {item} hurt my back.@ I see a doctor now.",
            "I'm suing you because of that {item}.@", "I will take this {item} to a judge.@",
            "This {item} will cost you a trial.@", "Why did you charge me twice?@ I bought one {item}.",
            "Your {item} broke my finger.@",
            "I see an extra charge for my {item}.@",
            "Why do I see another payment for the {item}?@",
            "You billed me again for the same {item}.@",
            "The price of the {item} left my account two times.@",
            "I have a second bill for the {item}.@",
            "My lawyer is ready to fight about the {item}.@",
            "A lawyer will call you because of the {item}.@",
            "I am starting a lawsuit over the {item}.@",
            "I want to press charges because of the {item}.@",
            "My daughter was hurt when the {item} exploded.@",
            "I hurt my hand with the {item}.@",
            "While I used the {item} it hurt my eye.@",
            "The {item} broke my toe.@",
            "I got injured by this {item}.@",
            "The doctor says that the {item} made me sick.@",
        ),
    },
)  # fmt: skip

TUNE_PHRASINGS = Phrasings(
    openings=("", "", "", "Good day. ", "Hello there. ", "Excuse me. "),
    mentions=(
        " I have number {order}.", " The order is {order}.", " Order no {order}.", " See order {order}.",
        " The order with number {order}.",
    ),
    sentences={
        "where": (
            "It's been days and there is still no {item}.@ What's going on?", "Could you find out where my {item} is?@",
            "I am wondering where the {item} is.@", "My {item} seems lost.@ Any idea?",
            "When can I expect the {item}?@", "Give me an update on my {item}, please.@",
            "The {item} was ordered long ago and is not here.@", "Could you say if the {item} was sent?@",
        ),
        "refund": (
            "This {item} is a disappointment.@ I want the money returned.",
            "Could I hand the {item} back for a refund?@",
            "I regret buying the {item}.@ Please send my money back.",
            "The {item} has a scratch.@ I expect a refund.",
            "It's the wrong size, so I'm returning the {item}.@ Refund, please.",
            "A {item} like this isn't worth the price.@ Can I return it?",
            "Would you take the {item} back and repay me?@",
            "The {item} is faulty.@ I'd like my money again.",
        ),
        "address": (
            "I switched flats.@< I'm at {address} now.> Please send the {item} there.",
            "The parcel with the {item} must go to my sister instead<; she lives at {address}>.@",
            "Oops, I typed my old street for the {item}.@< Correct is {address}.>",
            "Can the {item} be sent to another place<, namely {address}>?@",
            "I'll be staying with a friend.@ Please deliver the {item} there<: {address}>.",
            "Kindly fix the delivery address of my {item}<; it's {address}>.@",
            "The {item} needs a new address.@< That's {address}.>",
            "Would you change the street for my {item}< to {address}>?@",
        ),
        "complaint": (
            "Expect a call from my lawyer about the {item}.@", "I shall start legal action because of the {item}.@",
            "The {item} exploded and my daughter is in hospital.@", "Using the {item} broke my arm.@",
            "The {item} was charged to my account two times.@", "Why is there a second charge for my {item}?@",
            "I got injured while I used the {item}.@", "My lawyer and I will fight you over this {item}.@",
        ),
    },
)  # fmt: skip

REPORT_PHRASINGS = Phrasings(
    openings=("", "", "", "Greetings. ", "Hello, shop team. ", "Sorry to ask. "),
    mentions=(
        " Confirmation {order}.", " My receipt says {order}.", " This is about order {order}.",
        " You can find it under {order}.", " Order id {order}.",
    ),
    sentences={
        "where": (
            "Nothing has come yet: I mean the {item}.@ Where did it go?", "Do you know if my {item} was sent out?@",
            "I keep looking out for the {item}.@ How long still?", "How is my {item} delivery doing?@",
            "Can someone look into my missing {item}?@", "Is the {item} already with the courier?@",
            "The {item} I bought is nowhere to be seen.@ When is it coming?", "What's the latest on my {item}?@",
        ),
        "refund": (
            "The {item} just isn't right for me.@ I want the price back.",
            "I'm unhappy with the {item}.@ How do I get my money back?", "Let me give the {item} back for a refund.@",
            "Your {item} stopped working.@ I'd rather have the money.", "Can you refund my purchase of the {item}?@",
            "My wife already has a {item}.@ May I bring it back for my money?",
            "The {item} arrived with a crack.@ I'm asking for a refund.", "I won't keep the {item}.@ Please repay me.",
        ),
        "address": (
            "Our house is sold.@ Bring the {item} to the new one<, {address}>.",
            "Please send my {item} to a new street.@< It belongs at {address}.>",
            "I mixed up the address for the {item}.@< Put down {address}.>",
            "Would you swap the delivery address on my {item}< for {address}>?@",
            "My {item} is heading to my old place.@< I need it at my own home, {address}.>",
            "Let the {item} arrive at my workplace<: {address}>.@",
            "The {item} has to be delivered to a new address.@< We live at {address} now.>",
            "Could I have the {item} delivered elsewhere<, to {address}>?@",
        ),
        "complaint": (
            "We will meet before a judge about the {item}.@", "My lawyer is preparing a case over your {item}.@",
            "I'm bleeding because the {item} broke in my hands.@",
            "The {item} made my grandmother fall and she needs a doctor.@",
            "My bank account shows the {item} charged twice.@", "You took the money for my {item} once too often.@",
            "My brother was injured by your {item}.@", "There's a double payment for my {item} on the card.@",
        ),
    },
)  # fmt: skip
