"""The page is whole, asks nothing of a network, and lets no text from a model become markup."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from invented_cycle import example_results

from llmagentos.records.release import Verdict
from llmagentos.records.results import (
    Conversation,
    Curve,
    CurvePoint,
    CycleResults,
    Sample,
    SkillResult,
    Turn,
    verdict_result,
)
from llmagentos.reports.page import read_results, render_page, results_json, write_report

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' style='position:fixed' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "--><svg/onload=alert(1)>",
    "javascript:alert(1)",
)


class Seen(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], []
        self.open = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "path", "img", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open, f"closed {tag} that was not open"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).replace("\u00a0", " ").split())


def attacked(text):
    talk = Conversation((Turn("assistant", text), Turn("assistant", json.dumps({text: {text: text}}))), False, text)
    base = example_results()
    skills = (replace(base.skills[0], name=text, learner=text, baselines={text: 0.1}), base.skills[1])
    verdicts = (replace(base.verdicts[0], candidate=text, reason=text, note=text, skill=text, learner=text),)
    return replace(
        base, skills=skills, verdicts=verdicts, samples=(Sample(text, text, talk, talk),), notes=(text,), title=text,
        model=text, versions={text: text}, tokens={text: 3}, date=text, releases=(text, "r1", "r2"), live=text,
        curves=(replace(base.curves[0], skill=text, learner=text),),
        machine=replace(base.machine, processor=text, system=text),
        stages=(replace(base.stages[0], name=text),),
    )  # fmt: skip


def test_page_shows_the_headline_the_scores_and_the_verdicts():
    words = Seen(render_page(example_results())).words
    assert "SupportDesk-v0 rose from 11 % to 91 % and Drills-v0 from 36 % to 68 % in 11.2 minutes." in words
    assert "The gate judged 3 candidates and refused 1." in words
    assert "✕ Refused" in words
    assert "SupportDesk-v0 fell from 91 % to 62 % on 100 fresh tasks, more than the 3 points allowed: refused." in words
    for part in ("keyword rule", "before, few-shot prompt", "after, any form", "Backward transfer", "bf16", "seed 7"):
        assert part in words, part


def test_page_is_well_formed_and_loads_nothing_from_anywhere():
    page = render_page(example_results())
    seen = Seen(page)
    assert not seen.open, f"left open: {seen.open}"
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(seen.tags)
    outward = [
        (tag, name, value) for tag, name, value in seen.attributes if name in ("src", "href", "srcset", "action")
    ]
    assert {value for _, _, value in outward if not value.startswith("#")} == {"results.json"}
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_becomes_markup(attack):
    seen = Seen(render_page(attacked(attack)))
    plain = Seen(render_page(attacked(" ".join("word" for _ in attack.split(" ")))))
    assert seen.tags == plain.tags
    assert [name for _, name, _ in seen.attributes] == [name for _, name, _ in plain.attributes]
    assert "".join(seen.text).count(attack) >= 10, "it is shown as what it is"


def test_direction_and_control_characters_are_made_visible():
    page = render_page(attacked("pay\u202e001$\x1b[2J"))
    conversation = page[page.index('id="conversations"') : page.index('id="run"')]
    assert "pay\ufffd001$\ufffd[2J" in conversation
    assert "\u202e" not in conversation.split('<div class="said">')[1].split("</div>")[0]


def test_tool_calls_are_cards_and_other_json_is_speech():
    base = example_results()
    turns = (
        Turn("assistant", '{"refund": {"order": "4417", "lines": [1, 2]}}'),
        Turn("assistant", '{"not": "a call"}'),
        Turn("assistant", "[" * 3000),
        Turn("tool", '{"result": {"done": true}}'),
    )
    talk = Conversation(turns, True)
    page = render_page(replace(base, samples=(Sample("S", "k", talk, talk),)))
    assert page.count('class="tool-card"') == 2
    words = Seen(page).words
    assert "Agent calls a tool refund order 4417 lines [1, 2]" in words
    assert '{"not": "a call"}' in words


def test_a_turn_without_end_is_cut_and_says_so():
    talk = Conversation((Turn("assistant", "again " * 50_000),), False)
    page = render_page(example_results(samples=(Sample("S", "k", talk, talk),)))
    assert len(page) < 150_000
    assert "more characters" in page


def test_results_json_has_what_readers_rely_on_and_reads_back(tmp_path):
    results = example_results()
    page = write_report(results, tmp_path / "demo")
    assert page.name == "index.html"
    stored = json.loads((page.parent / "results.json").read_text(encoding="utf-8"))
    assert stored["minutes"] == 11.2
    assert [skill["name"] for skill in stored["skills"]] == ["SupportDesk-v0", "Drills-v0"]
    assert all({"before", "after", "low", "high"} <= skill.keys() for skill in stored["skills"])
    assert stored["retention"] == [[0.11, 0.36], [0.92, 0.33], [0.91, 0.68]]
    assert all({"candidate", "released", "reason"} <= verdict.keys() for verdict in stored["verdicts"])
    assert read_results(page.parent / "results.json") == results
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "results.json"]


def test_a_second_report_replaces_the_first(tmp_path):
    write_report(example_results(), tmp_path)
    write_report(example_results(seed=99), tmp_path)
    assert "seed 99" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_what_was_not_measured_is_a_dash_and_null_never_nan():
    gap = example_results(
        retention=((None, 0.3), (0.9, math.nan), (0.9, 0.6)),
        curves=(Curve("S", "imitation", (CurvePoint(0.0, 0.1), CurvePoint(1.0, math.nan), CurvePoint(2.0, 0.5))),),
    )
    page = render_page(gap)
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    assert page.count("cell empty") == 2
    assert b"NaN" not in results_json(gap)


@pytest.mark.parametrize(
    "results",
    [
        CycleResults(0.4, (), (), ()),
        CycleResults(0.4, (SkillResult("S", 0.2, 0.2, -0.1, 0.1),), ((0.2,),), ("r0",)),
        CycleResults(1.0, (SkillResult("S", 0.2, 0.1, -0.2, -0.01),), ((0.2,), (0.1,)), ("r0", "r1"),
                     verdicts=(verdict_result(Verdict("c1", False, "no", (), math.inf, 0.5)),)),
        example_results(curves=(Curve("S", "x", ()), Curve("S", "x", (CurvePoint(0.0, 0.5),)))),
    ],
)  # fmt: skip
def test_a_poor_cycle_is_reported_too(results):
    assert not Seen(render_page(results)).open


def test_a_cycle_that_failed_says_so_in_its_headline():
    flat = CycleResults(3.0, (SkillResult("S", 0.2, 0.25, -0.05, 0.15),), ((0.4,), (0.25,)), ("r0", "r1"))
    words = Seen(render_page(flat)).words
    assert "No skill improved for sure in 3.0 minutes." in words
    assert "S stands 15 points below its best." in words


def test_results_refuse_a_retention_matrix_of_another_shape():
    with pytest.raises(ValueError, match="one row per release"):
        example_results(retention=((0.1, 0.2),))
