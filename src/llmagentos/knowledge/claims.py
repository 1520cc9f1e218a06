"""Which claim a statement makes: the question that it answers with a single value.

In: the text of a statement. Out: its normal form, and where its pattern is one that allows a single answer at a
time, the question and the answer. It does not know which facts are stored.

Everything here errs on the side of seeing no claim: a missed one leaves two facts side by side, a false one would
retire something true.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """A question with one answer at a time, and the answer given."""

    question: str
    """Subject, relation and kind of answer, normalised: equal for two statements that answer the same question."""
    answer: str
    """Normalised."""


# Attributes of which a thing has one at a time.
_SINGLE = (
    "address|age|birthday|boss|budget|capital|capital city|captain|ceo|cfo|chair|chairman|chairperson|chairwoman|coach|"
    "cost|cto|currency|deadline|director|duration|due date|e-?mail|e-?mail address|fee|full name|head|headquarters|"
    "height|home address|length|limit|manager|mayor|name|owner|phone|phone number|population|postcode|president|price|"
    "prime minister|principal|queen|king|rate|rent|salary|size|speed|start date|end date|surname|telephone number|"
    "temperature|value|version|website|weight|width|zip code"
)
_SINGLE_CHINESE = (
    "首都|省会|价格|售价|费用|地址|电话|电话号码|手机号|邮箱|年龄|生日|姓名|名字|身高|体重|人口|面积|总统|总理|主席|市长|校长|"
    "总裁|首席执行官|负责人|经理|截止日期|期限|版本|网址|官网"
)
_FREE = "status|state"

# Whose attribute it is must be definite: "the price of the X1", "Acme's CEO", "my name".
_OF = re.compile(rf"the (?:current |present |new )?(?P<head>{_SINGLE}|{_FREE}) of (?P<whose>.+)", re.IGNORECASE)
_POSSESSIVE = re.compile(rf"(?P<whose>.+?)['’]s? (?:current |present |new )?(?P<head>{_SINGLE}|{_FREE})", re.IGNORECASE)
_MINE = re.compile(rf"(?P<whose>my|our) (?:current |present |new )?(?P<head>{_SINGLE}|{_FREE})", re.IGNORECASE)
_CHINESE = re.compile(
    rf"(?P<whose>[^，,。；;？?是]+?)的(?P<head>{_SINGLE_CHINESE})(?:现在)?(?:是|为)(?P<answer>[^，,。；;？?]+)"
)

_COPULA = re.compile(r"\s(?:is|are)(?:\s+now)?\s", re.IGNORECASE)
_COSTS = re.compile(r"(?P<subject>.+?)\s+(?:now\s+)?(?P<verb>costs?|weighs?)\s+(?P<answer>.+)", re.IGNORECASE)
_LIVES = re.compile(r"(?P<subject>.+?)\s+(?:now\s+)?lives?\s+in\s+(?P<answer>.+)", re.IGNORECASE)
_LIVES_CHINESE = re.compile(r"(?P<subject>[^，,。；;？?的是]{1,12}?)(?:现在)?住在(?P<answer>[^，,。；;？?]+)")

# A number with its unit and nothing else: "30 days", "$999", "31 years old", "3.5%".
_QUANTITY = re.compile(
    r"(?P<before>[$€£¥₩])?\s?(?P<number>\d[\d,.]*)(?:\s?(?P<unit>%|°?[a-zµ]{1,12}|[元天年月日岁个米万亿美]{1,3})"
    r"(?P<after> (?:old|tall|long|wide|high|deep|heavy))?)?",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-ZÀ-ÞΑ-ΩА-Я0-9\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af\"“'‘$€£¥+]|\S+@\S+|https?://|www\.")
_INDEFINITE = re.compile(
    r"(?:an?|one|some|any|each|every|all|most|many|few|several|no|another|other|both|it|this|that|these|those|there|he|she|"
    r"they|we|you|if|when|while|before|after|maybe|perhaps|in|on|at|for|according|what|which|who|whose|where|how|why)\b",
    re.IGNORECASE,
)
_SEVERAL = re.compile(r"\b(?:and|or|not|unless|if|except|about the|between)\b|[;?]|或|和|不", re.IGNORECASE)
_LONGEST = 400
"""Statements beyond this many characters are paragraphs, not claims."""


def normalise(statement: str) -> str:
    """The form in which two statements are the same: case, width, spacing and final punctuation do not count."""
    plain = unicodedata.normalize("NFKC", statement).casefold()
    return " ".join(plain.split()).rstrip(" .!。！")


def find_claim(statement: str) -> Claim | None:
    """The single-valued claim that a statement makes, or None: most statements make none."""
    sentence = " ".join(unicodedata.normalize("NFKC", statement).split()).rstrip(" .!。！")
    if len(sentence) > _LONGEST or _SEVERAL.search(sentence) or re.search(r"[.!。！]\s", sentence):
        return None
    return _chinese(sentence) or _attribute(sentence) or _verb(sentence)


def contradicts(old: Claim, new: Claim) -> bool:
    """Whether the answers to one question differ: an answer that only says more than the other does not."""
    if old.question != new.question:
        return False
    if _QUANTITY.fullmatch(new.answer):
        return old.answer != new.answer
    shorter, longer = sorted((old.answer, new.answer), key=len)
    return not re.match(rf"{re.escape(shorter)}(?!\w)", longer)


def _chinese(sentence: str) -> Claim | None:
    if match := _CHINESE.fullmatch(sentence):
        answer = match["answer"]
        kind = _kind(answer)
        return _claim(match["whose"], match["head"], kind, answer) if kind and len(answer) <= 20 else None
    if match := _LIVES_CHINESE.fullmatch(sentence):
        return _claim(match["subject"], "住在", "name", match["answer"])
    return None


def _attribute(sentence: str) -> Claim | None:
    """`the HEAD of X is Y`, `X's HEAD is Y`, `my HEAD is Y`, and `X is <quantity>` for any definite X."""
    parts = _COPULA.split(sentence)
    if len(parts) != 2:
        return None
    subject, answer = parts
    kind = _kind(answer)
    for pattern in (_OF, _POSSESSIVE, _MINE):
        match = pattern.fullmatch(subject)
        if match and not _INDEFINITE.match(match["whose"]):
            free = match["head"].casefold() in _FREE.split("|") and len(answer.split()) <= 3
            kind = "state" if free else kind
            return _claim(match["whose"], match["head"], kind, answer) if kind else None
    if kind.startswith("quantity ") and _definite(subject) and subject.split()[0][0].isalpha():
        return _claim(subject, "is", kind, answer)
    return None


def _verb(sentence: str) -> Claim | None:
    """`X costs <quantity>`, `X weighs <quantity>`, `X lives in Y` where X is somebody."""
    if match := _COSTS.fullmatch(sentence):
        kind = _kind(match["answer"])
        if kind.startswith("quantity ") and _definite(match["subject"]):
            return _claim(match["subject"], match["verb"].casefold().rstrip("s"), kind, match["answer"])
    if match := _LIVES.fullmatch(sentence):
        subject, verb_singular = match["subject"], re.search(r"\slives\s", sentence, re.IGNORECASE)
        somebody = subject == "I" or bool(verb_singular and subject[0].isupper() and len(subject.split()) <= 3)
        if somebody and _definite(subject) and not subject.lower().startswith("the ") and _NAME.match(match["answer"]):
            return _claim(subject, "live in", "name", match["answer"])
    return None


def _definite(subject: str) -> bool:
    return not _INDEFINITE.match(subject)


def _kind(answer: str) -> str:
    """`quantity <unit>`, `name`, or empty for an answer that describes and leaves room for others."""
    if match := _QUANTITY.fullmatch(answer):
        unit = f"{match['before'] or ''}{match['unit'] or ''}{match['after'] or ''}".casefold().strip()
        return f"quantity {unit}"
    return "name" if _NAME.match(answer) and len(answer.split()) <= 8 else ""


def _claim(subject: str, relation: str, kind: str, answer: str) -> Claim:
    who = re.sub(r"^the ", "", normalise(subject))
    return Claim(f"{who}|{relation.casefold()}|{kind}", normalise(answer))
