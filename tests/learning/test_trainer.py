"""Gradients are the right ones, reach only what the model itself said, and steps can be resumed exactly."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from plain import plain_logprobs

from llmagentos.errors import LearningError
from llmagentos.learning.checkpoints import FileCheckpoint
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, TrainingSequence, from_transcript
from llmagentos.models.adapters import BatchAdapters, FusedAdapter, block_mask, new_adapter
from llmagentos.models.decoder import Decoder
from llmagentos.models.logprobs import mean_divergence, next_logprobs
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.models.products import PackedLinear
from llmagentos.records.transcript import Segment, SegmentOrigin, Transcript

SETTINGS = AdapterSettings(rank=3, alpha=6.0, learning_rate=1e-2)
Show = Callable[..., Transcript]


def trained(decoder: Decoder, sequences: list[TrainingSequence], steps: int, trainer: Any = None) -> AdapterTrainer:
    trainer = trainer or AdapterTrainer(decoder, SETTINGS, seed=1)
    for _ in range(steps):
        (-torch.cat(trainer.logprobs(sequences)).mean()).backward()
        trainer.step()
    return trainer


def bits(trainer: AdapterTrainer) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for parameter in trainer.parameters]


class Plain:
    """The same adapter with PyTorch's own gradients and one full product for each projection."""

    def __init__(self, trainer: AdapterTrainer) -> None:
        self.scale = trainer.alpha / trainer.rank
        self.pairs = {
            key: tuple(t.detach().clone().requires_grad_() for t in pair) for key, pair in trainer.pairs.items()
        }

    def __call__(self, layer: int, group: str, x_NI: torch.Tensor, weight: PackedLinear) -> torch.Tensor:
        a, b = self.pairs[layer, group]
        return torch.nn.functional.linear(x_NI, weight.weight_OI + self.scale * (b @ a), weight.bias)


def test_gradients_are_those_of_a_plain_implementation(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(number)) for number in (0, 1, 1, 2)]
    trainer = trained(decoder, sequences, 2)  # B is no longer zero, so that A has a gradient too
    plain = Plain(trainer)
    ours = trainer.logprobs(sequences)
    theirs = [plain_logprobs(decoder, plain, sequence) for sequence in sequences]
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-5)
        (mine.sum() * (number - 1.5)).backward(retain_graph=True)
        (other.sum() * (number - 1.5)).backward()
    for key, pair in trainer.pairs.items():
        for mine, other in zip(pair, plain.pairs[key], strict=True):
            assert mine.grad is not None
            assert other.grad is not None
            scale = float(other.grad.abs().max())
            assert scale > 0
            torch.testing.assert_close(mine.grad, other.grad, atol=1e-4 * scale, rtol=1e-3)


def test_departure_is_the_divergence_from_another_adapter(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(number)) for number in (0, 1)]
    texts = [tuple(range(20, 31)), (20, 21, 22, 23, 24, 90, 91)]
    trainer = AdapterTrainer(decoder, SETTINGS, seed=1)
    assert float(trainer.departure(texts, None).detach()) == pytest.approx(0.0, abs=1e-6)
    trained(decoder, sequences, 2, trainer)
    other = trainer.snapshot()
    trained(decoder, sequences, 3, trainer)
    tree = pack(texts)
    attention = TreeAttention(tree, decoder.config)

    def logprobs(adapter: FusedAdapter) -> torch.Tensor:
        low_rank = BatchAdapters([(0, len(tree.tokens_N), adapter)])
        return decoder.logits(decoder.hidden(tree.tokens_N, tree.positions_N, attention, low_rank)).log_softmax(-1)

    with torch.no_grad():
        expected = torch.nn.functional.kl_div(
            logprobs(other), logprobs(trainer.snapshot()), reduction="none", log_target=True
        )
    moved = trainer.departure(texts, other)
    assert float(moved.detach()) == pytest.approx(float(expected.sum(-1).mean()), rel=1e-3)
    for _ in range(20):
        trainer.departure(texts, other).backward()
        trainer.step()
    assert float(trainer.departure(texts, other).detach()) < 0.5 * float(moved.detach())


def test_departure_in_replies_looks_at_the_places_alone_where_an_agent_speaks(
    decoder: Decoder, demonstration: Show
) -> None:
    sequences = [from_transcript(demonstration(number)) for number in (0, 1)]
    trainer = trained(decoder, sequences, 3)
    places = [place - 1 for place in sequences[0].targets.tolist()]
    tree = pack([sequences[0].tokens])
    with torch.no_grad():
        new = next_logprobs(decoder, tree, trainer.snapshot(), torch.tensor(places))
        old = next_logprobs(decoder, tree, None, torch.tensor(places))
    moved = trainer.departure_in_replies(sequences[:1], None)
    assert float(moved.detach()) == pytest.approx(float(mean_divergence(new, old)), rel=1e-3)
    twice = trainer.departure_in_replies([sequences[0], sequences[0]], None)
    assert float(twice.detach()) == pytest.approx(float(moved.detach()), rel=1e-4), "what runs share counts once"
    with pytest.raises(LearningError, match="nothing to stay near to"):
        trainer.departure_in_replies([TrainingSequence((4, 5, 6), (False,) * 3)], None)


def test_bf16_weights_are_trained_in_full_precision(tiny_model: Any, demonstration: Show) -> None:
    decoder = Decoder.load(tiny_model, dtype=torch.bfloat16)
    sequences = [from_transcript(demonstration(number)) for number in range(4)]
    trainer = AdapterTrainer(decoder, SETTINGS)
    with torch.no_grad():
        before = float(torch.cat(trainer.logprobs(sequences)).mean())
    trained(decoder, sequences, 15, trainer)
    assert float(torch.cat(trainer.logprobs(sequences)).mean()) > before + 0.5
    assert trainer.parameters[0].dtype == torch.float32
    assert trainer.snapshot().pairs[0, "o"][0].dtype == torch.bfloat16
    assert trainer.exact().pairs[0, "o"][0].dtype == torch.float32


def test_only_own_words_are_targets() -> None:
    chance = random.Random(0)
    origins: tuple[SegmentOrigin, ...] = ("prompt", "sampled", "demonstration", "history", "tool", "environment")
    own, foreign = range(10, 20), range(20, 30)
    for _ in range(200):
        segments = []
        for origin in chance.choices(origins, k=chance.randint(1, 8)):
            pool = own if origin in ("sampled", "demonstration") else foreign
            segments.append(Segment(origin, tuple(chance.choices(pool, k=chance.randint(0, 5)))))
        sequence = from_transcript(Transcript("tiny", tuple(segments)))
        wanted = [sequence.tokens[place] for place in sequence.targets]
        assert wanted == [token for token in sequence.tokens[1:] if token in own]


def test_planted_environment_token_is_never_pushed_up(
    decoder: Decoder, demonstration: Show, marker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    compute = Decoder.logits

    def spy(self: Decoder, hidden: torch.Tensor) -> torch.Tensor:
        logits = compute(self, hidden)
        logits.retain_grad()
        seen.append(logits)
        return logits

    monkeypatch.setattr(Decoder, "logits", spy)
    transcript = demonstration(0)
    trainer = AdapterTrainer(decoder, SETTINGS)
    (-trainer.logprobs([from_transcript(transcript)])[0].sum()).backward()
    (logits,) = seen
    assert logits.grad is not None
    wanted = [token for token, own in zip(transcript.tokens, transcript.trainable, strict=True) if own]
    assert logits.shape[0] == len(wanted)  # no row of the output layer belongs to the environment
    raised = [row.nonzero().flatten().tolist() for row in logits.grad < 0]
    assert raised == [[token] for token in wanted]
    assert bool((logits.grad[:, marker] > 0).all())


def test_environment_after_the_last_own_word_changes_nothing(
    decoder: Decoder, demonstration: Show, marker: int
) -> None:
    transcript = demonstration(0)
    longer = transcript.append(Segment("environment", (marker, 80, 81)), Segment("tool", (marker,)))
    other = transcript.append(Segment("environment", (90,) * 30))
    trainers = [trained(decoder, [from_transcript(one)], 3) for one in (transcript, longer, other)]
    assert bits(trainers[0]) == bits(trainers[1]) == bits(trainers[2])
    assert trainers[0].tokens == trainers[1].tokens


def test_environment_is_read_as_context(decoder: Decoder, demonstration: Show) -> None:
    trainer = AdapterTrainer(decoder, SETTINGS)
    first, second = trainer.logprobs([from_transcript(demonstration(0)), from_transcript(demonstration(0, marker=99))])
    assert len(first) == len(second)
    assert not torch.allclose(first, second)


def test_nothing_to_train_on_is_an_error(decoder: Decoder) -> None:
    silent = from_transcript(Transcript("tiny", (Segment("prompt", (4, 5)), Segment("environment", (6, 7)))))
    first_only = TrainingSequence((4, 5), (True, False))
    for batch in ([], [silent], [silent, first_only]):
        with pytest.raises(LearningError, match="No token in this batch may train"):
            AdapterTrainer(decoder, SETTINGS).logprobs(batch)


def test_sequences_without_targets_keep_their_place(decoder: Decoder, demonstration: Show) -> None:
    silent = from_transcript(Transcript("tiny", (Segment("prompt", (4, 5)),)))
    talking = from_transcript(demonstration(1))
    trainer = AdapterTrainer(decoder, SETTINGS)
    parts = trainer.logprobs([silent, talking, silent])
    assert [len(part) for part in parts] == [0, 7, 0]
    assert torch.equal(parts[1], trainer.logprobs([talking])[0])


def test_fresh_adapter_scores_like_the_base(decoder: Decoder, demonstration: Show) -> None:
    sequence = from_transcript(demonstration(0))
    trainer = AdapterTrainer(decoder, SETTINGS)
    for parameter in trainer.parameters[1::2]:
        assert not parameter.any()
    expected = plain_logprobs(decoder, Plain(trainer), sequence)
    torch.testing.assert_close(trainer.logprobs([sequence])[0], expected, atol=2e-5, rtol=1e-5)


def test_training_makes_the_demonstrations_likelier(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(number)) for number in range(4)]
    before = torch.cat(AdapterTrainer(decoder, SETTINGS).logprobs(sequences)).mean()
    after = torch.cat(trained(decoder, sequences, 30).logprobs(sequences)).mean()
    assert float(after) > float(before) + 1


def test_blocks_of_a_fused_product_stay_apart(decoder: Decoder, demonstration: Show) -> None:
    trainer = trained(decoder, [from_transcript(demonstration(number)) for number in range(3)], 5)
    for (_, group), (_, b) in trainer.pairs.items():
        mask = block_mask(decoder.config, group, trainer.rank).bool()
        assert not b[~mask].any()
        assert b[mask].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_gradient_that_is_not_finite_changes_nothing(decoder: Decoder, demonstration: Show, value: float) -> None:
    sequences = [from_transcript(demonstration(0))]
    trainer, other = trained(decoder, sequences, 2), trained(decoder, sequences, 2)
    before = bits(trainer)
    (-trainer.logprobs(sequences)[0].sum()).backward()
    trainer.parameters[3].grad[0, 0] = value  # type: ignore[index]
    assert trainer.step() == math.inf
    assert bits(trainer) == before
    assert bits(trained(decoder, sequences, 2, trainer)) == bits(trained(decoder, sequences, 2, other))


def test_learning_rate_factor_scales_the_step(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(0))]
    moved = []
    for factor in (0.0, 0.5, 1.0):
        trainer = AdapterTrainer(decoder, SETTINGS)
        (-trainer.logprobs(sequences)[0].sum()).backward()
        trainer.step(factor)
        moved.append(float(trainer.pairs[0, "o"][1].abs().max()))
    assert moved == pytest.approx([0.0, 0.005, 0.01], rel=1e-3)


def test_restored_state_continues_bit_by_bit(decoder: Decoder, demonstration: Show, tmp_path: Any) -> None:
    sequences = [from_transcript(demonstration(number)) for number in range(3)]
    for before in (0, 3):
        checkpoint = FileCheckpoint(tmp_path / f"{before}.safetensors")
        trainer = trained(decoder, sequences, before)
        checkpoint.save(trainer.state())
        again = AdapterTrainer(decoder, SETTINGS, seed=99)
        again.restore(checkpoint.load() or {})
        assert again.tokens == trainer.tokens
        assert bits(trained(decoder, sequences, 3, again)) == bits(trained(decoder, sequences, 3, trainer))


def test_state_does_not_follow_the_trainer(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(0))]
    trainer = trained(decoder, sequences, 2)
    state, snapshot, exact = trainer.state(), trainer.snapshot(), trainer.exact()
    kept = [state["tensors"]["parameter.1"].clone(), snapshot.pairs[0, "o"][1].clone(), exact.pairs[0, "o"][1].clone()]
    trained(decoder, sequences, 2, trainer)
    assert torch.equal(state["tensors"]["parameter.1"], kept[0])
    assert torch.equal(snapshot.pairs[0, "o"][1], kept[1])
    assert torch.equal(exact.pairs[0, "o"][1], kept[2])


def test_state_may_be_restored_more_than_once(decoder: Decoder, demonstration: Show) -> None:
    sequences = [from_transcript(demonstration(0))]
    state = trained(decoder, sequences, 2).state()
    results = []
    for _ in range(2):
        trainer = AdapterTrainer(decoder, SETTINGS)
        trainer.restore(state)
        results.append(bits(trained(decoder, sequences, 2, trainer)))
    assert results[0] == results[1]


def test_snapshots_differ_from_every_other_adapter(decoder: Decoder) -> None:
    trainer = AdapterTrainer(decoder, SETTINGS)
    assert len({trainer.snapshot().serial, trainer.snapshot().serial, trainer.exact().serial}) == 3


def test_start_is_continued_and_left_alone(decoder: Decoder, demonstration: Show) -> None:
    start = new_adapter(decoder.config, 2, 4.0, seed=8)
    copy = start.pairs[0, "o"][0].clone()
    trainer = AdapterTrainer(decoder, SETTINGS, start=start)
    assert (trainer.rank, trainer.alpha) == (2, 4.0)
    assert torch.equal(trainer.pairs[0, "o"][0], copy)
    trained(decoder, [from_transcript(demonstration(0))], 2, trainer)
    assert torch.equal(start.pairs[0, "o"][0], copy)
