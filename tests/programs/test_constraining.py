"""A constrained reply is always a call that can be carried out, or words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import torch

from llmagentos.environments.registry import make
from llmagentos.models.constraints import Constraint, Constraints
from llmagentos.models.decoder import Decoder
from llmagentos.models.rendering import Renderer
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.programs.constraining import call_grammar
from llmagentos.programs.parsing import parse_call, render_call
from llmagentos.records.generation import GenerationRequest, Sampling
from llmagentos.records.message import ToolCall, ToolSpec
from llmagentos.records.task import reset_options

TOOLS = (
    ToolSpec(
        "refund",
        "give money back",
        {
            "type": "object",
            "properties": {
                "order": {"type": "string", "maxLength": 5},
                "amount": {"type": "integer", "minimum": 1, "maximum": 90},
                "why": {"enum": ["late", "broken"]},
            },
            "required": ["order", "amount"],
        },
    ),
    ToolSpec("wait"),
)
NAMES = tuple(tool.name for tool in TOOLS)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[TorchEngine]:
    made = TorchEngine(Decoder.load(tiny_model, dtype=torch.float32), Renderer(tiny_model), rows=16)
    yield made
    made.close()


@pytest.fixture(scope="module")
def constraints(tiny_model: Path) -> Constraints:
    renderer = Renderer(tiny_model)
    return Constraints(tiny_model, renderer.vocabulary, renderer.eos_ids)


def allows(constraint: Constraint, token: int) -> bool:
    return bool(constraint.allowed[token // 32] >> (token % 32) & 1)


def follows(constraints: Constraints, renderer: Renderer, tools: tuple[ToolSpec, ...], text: str) -> bool:
    """Whether `text` is a whole reply."""
    constraint = constraints.begin(call_grammar(tools))
    for token in renderer.encode(text):
        if not allows(constraint, token):
            return False
        constraint.accept(token)
    return allows(constraint, renderer.end_of_turn)


def test_replies_of_a_model_that_knows_nothing_are_calls_or_words(engine: TorchEngine) -> None:
    grammar = call_grammar(TOOLS)
    prompts = [tuple(range(20 + n, 50 + n)) for n in range(24)]
    asked = [
        GenerationRequest(prompt, Sampling(60, temperature=1.5, seed=seed, grammar=grammar))
        for seed, prompt in enumerate(prompts)
    ]
    replies = [future.result(60) for future in [engine.submit(request) for request in asked]]
    for reply in replies:
        parsed = parse_call(reply.text, NAMES)
        if reply.text.startswith("{") and reply.finish == "stop":
            assert parsed.well_formed
            assert parsed.call is not None
            jsonschema.validate(parsed.call.arguments, next(t.parameters for t in TOOLS if t.name == parsed.call.name))
        assert reply.text.strip()


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("wait", {}),
        ToolCall("refund", {"order": "B-7", "amount": 12}),
        ToolCall("refund", {"order": "Ü 1", "amount": 90, "why": "late"}),
    ],
)
def test_what_we_write_is_allowed(constraints: Constraints, tiny_model: Path, call: ToolCall) -> None:
    assert follows(constraints, Renderer(tiny_model), TOOLS, render_call(call))


@pytest.mark.parametrize(
    "text",
    [
        '{"refund": {"order": "B-7"}}',
        '{"refund": {"order": "B-7", "amount": 91}}',
        '{"refund": {"order": "B-7", "amount": 9, "note": "x"}}',
        '{"steal": {}}',
        '{"wait": {}, "wait": {}}',
        '{"wait":{}}',
        ' {"wait": {}}',
        "{",
        "",
    ],
)
def test_what_could_not_be_carried_out_is_not(constraints: Constraints, tiny_model: Path, text: str) -> None:
    assert not follows(constraints, Renderer(tiny_model), TOOLS, text)


@pytest.mark.parametrize("text", ["Your order is on its way.", "Of course!\nAnything {else}?", " ok"])
def test_words_are_allowed(constraints: Constraints, tiny_model: Path, text: str) -> None:
    assert follows(constraints, Renderer(tiny_model), TOOLS, text)


@pytest.mark.parametrize("name", ["SupportDesk-v0", "Drills-v0"])
def test_experts_say_nothing_that_is_not_allowed(constraints: Constraints, tiny_model: Path, name: str) -> None:
    env, renderer = make(name), Renderer(tiny_model)
    for task in env.tasks("train", 12):
        expert = env.expert(task)
        if expert is None:
            pytest.skip(f"{name} has no expert")
        seen, info = env.reset(seed=task.seed, options=reset_options(task))
        tools = tuple(info["tools"])
        for _ in range(20):
            action = expert(seen)
            assert not tools or follows(constraints, renderer, tools, action), action
            seen, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break


PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "friend": {"$ref": "#/$defs/person"}}}
HARD: dict[str, dict[str, object]] = {
    "reference into itself": {"properties": {"who": {"$ref": "#/$defs/person"}}, "$defs": {"person": PERSON}},
    "reference to its root": {"properties": {"who": {"type": "object"}, "more": {"$ref": "#"}}},
    "what a grammar leaves out": {"properties": {"who": {"not": {"type": "string"}}}},
    "one of": {"properties": {"who": {"oneOf": [{"type": "object"}, {"type": "integer"}]}}},
    "another document": {"properties": {"who": {"$ref": "https://example.org/person"}}},
    "no type": {"properties": {"who": {"type": "dict"}}},
    "a pattern that looks ahead": {"properties": {"who": {}, "number": {"type": "string", "pattern": "(?=x)y"}}},
}


@pytest.mark.parametrize("schema", HARD.values(), ids=HARD.keys())
def test_any_schema_leaves_something_to_say(
    constraints: Constraints, tiny_model: Path, schema: dict[str, object]
) -> None:
    tools = (*TOOLS, ToolSpec("gre~et/all", "", {"type": "object", **schema}))
    renderer = Renderer(tiny_model)
    assert follows(constraints, renderer, tools, render_call(ToolCall("gre~et/all", {"who": {"name": "Ann"}})))
    assert follows(constraints, renderer, tools, render_call(ToolCall("wait", {})))
    assert not follows(constraints, renderer, tools, render_call(ToolCall("refund", {"order": "B-7"})))


def test_references_keep_their_meaning(constraints: Constraints, tiny_model: Path) -> None:
    tools = (*TOOLS, ToolSpec("greet", "", {"type": "object", **HARD["reference into itself"]}))
    for name, allowed in (("Bo", True), (3, False)):
        call = render_call(ToolCall("greet", {"who": {"name": "Ann", "friend": {"name": name}}}))
        assert follows(constraints, Renderer(tiny_model), tools, call) is allowed
