"""Public sets of real requests as files that `Requests-v0` reads.

In: the folder of the original files (see `DATA`), a folder to write to. Out: JSONL, one case a line.
It does not know who learns from them.

CLINC150 (Larson et al. 2019, CC BY 3.0): each request calls the tool of its intent, or is out of scope.
RESTAURANTS-8K (Coope et al. 2020, CC BY 4.0): each utterance calls `book` with the slots that it says, word for word;
one that says none is answered in words. The set has single utterances: where one answers a question (`requestedSlots`)
the question stands before it, and dialogues of up to three turns are put together from an opening and such answers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from measuring import JSON

from llmagentos.environments.registry import write_query
from llmagentos.environments.requests import NAME

DATA = Path(__file__).parents[2] / "shared" / "data"
"""Where the originals lie unless `--data` says otherwise: `clinc150/data_full.json` from github clinc/oos-eval,
`restaurants8k/{train,test}.json` from github PolyAI-LDN/task-specific-datasets."""
CONTINUED = 0.5
"""Share of openings that are followed by an answer to a question, and of those by another one."""
MOST_TURNS = 3


def environment(lines: Iterable[JSON], path: Path) -> str:
    """The environment of these requests, which are written to `path`."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return NAME + write_query({"data": str(path)})


def clinc150(data: Path) -> Iterable[JSON]:
    """Every request with its intent and split."""
    found = _read(data / "clinc150" / "data_full.json")
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        for text, intent in found[split] + found[f"oos_{split}"]:
            yield {"text": text, "intent": intent, "split": name}


def clinc_domain(domain: str, data: Path) -> Iterable[JSON]:
    """The requests of one of CLINC150's ten domains, such as `banking`."""
    intents = set(_read(data / "clinc150" / "domains.json")[domain])
    return (line for line in clinc150(data) if line["intent"] in intents)


def restaurants8k(data: Path) -> Iterable[JSON]:
    """Dialogues of one to three turns, each utterance in one of them."""
    for split in ("train", "test"):
        turns = [turn for turn in map(_turn, _read(data / "restaurants8k" / f"{split}.json")) if turn is not None]
        chance = random.Random(f"restaurants/{split}")
        chance.shuffle(turns)
        openings = [turn for asked, turn in turns if not asked]
        answers = [(asked, turn) for asked, turn in turns if asked]
        for opening in openings:
            dialogue = [opening]
            said = set(opening.get("call", {}).get("book", {}))
            while said and len(dialogue) < MOST_TURNS and chance.random() < CONTINUED:
                place = next((n for n, (asked, _) in enumerate(answers) if not asked & said), None)
                if place is None:
                    break
                asked, turn = answers.pop(place)
                dialogue.append(turn)
                said |= asked
            yield {"turns": dialogue, "split": split}
        for _, turn in answers:
            yield {"turns": [turn], "split": split}


def _turn(record: Mapping[str, Any]) -> tuple[frozenset[str], JSON] | None:
    """What was asked for, and the turn; None where a slot is said twice."""
    text = record["userInput"]["text"]
    asked = sorted(set(record.get("context", {}).get("requestedSlots", ())))
    slots: dict[str, str] = {}
    for label in record.get("labels", ()):
        span = label["valueSpan"]
        if label["slot"] in slots:
            return None
        slots[label["slot"]] = text[span.get("startIndex", 0) : span.get("endIndex", len(text))]
    request = f"Asked for {', '.join(asked)}: {text}" if asked else text
    right: JSON = {"call": {"book": slots}} if slots else {"label": "oos"}
    return frozenset(asked), {"text": request, **right}


def _read(path: Path) -> Any:
    if not path.is_file():
        raise SystemExit(f"{path} is missing. Say where the data lies with --data FOLDER; see {Path(__file__).name}.")
    return json.loads(path.read_text(encoding="utf-8"))


CORPORA: Mapping[str, Callable[[Path], Iterable[JSON]]] = {
    "clinc150": clinc150,
    "clinc-banking": partial(clinc_domain, "banking"),
    "clinc-travel": partial(clinc_domain, "travel"),
    "restaurants8k": restaurants8k,
}


def written(name: str, data: Path, work: Path) -> Path:
    """The corpus as a file in `work`, written once."""
    path = work / f"{name}.jsonl"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(f"{json.dumps(case, ensure_ascii=False)}\n" for case in CORPORA[name](data)), "utf-8")
        fresh.replace(path)
    return path
