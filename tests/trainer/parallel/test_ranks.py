"""Two processes that train together, by Gloo, against one alone; NCCL differs in who adds up, not in what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.manners import NUM_ROWS, Manner, Taken, embed, error, plain, take, take_together
from trainer.models.inputs import normalise_images
from trainer.parallel.ranks import ALONE, Ranks, find_ranks
from wit.errors import UserError

TOLERANCE = 1e-6  # as in test_step.py; 1.5e-7 was the most seen
SHARED: dict[str, dict[str, Any]] = {
    "contrastive": {"objective": "contrastive"},
    "contrastive in pieces and blocks": {"objective": "contrastive", "micro_batch_size": 3, "block_rows": 3},
    "sigmoid in pieces and blocks": {"objective": "sigmoid", "micro_batch_size": 3, "block_rows": 3},
    "bag of words": {"objective": "bag_of_words", "micro_batch_size": 3},
    "captioning": {"objective": "captioning", "micro_batch_size": 3},
    "packed, checkpointed, fewer patches": {
        "micro_batch_size": 2,
        "patch_dropout": 0.5,
        "run": {"checkpoint_blocks": True, "pack_text": True},
    },
    "bounded": {"optimiser": {"max_gradient_norm": 0.5}},
    "half moments": {"optimiser": {"state": "bf16"}},
    "ResNet": {"model": "RN-micro"},
}
# an epsilon of 1 makes AdamW follow the gradient itself: as it is, gradients that are all rounding take whole steps
LONGER: dict[str, Any] = {"steps": 4, "micro_batch_size": 2, "optimiser": {"epsilon": 1.0, "learning_rate": 0.1}}


def manner(name: str, parallel: str) -> Manner:
    options = SHARED[name]
    return Manner(**{**options, "run": options.get("run", {}) | {"parallel": parallel}})


PARALLEL = ("ddp", "fsdp")
CASES = [(name, parallel) for name in SHARED for parallel in PARALLEL]


@pytest.fixture(scope="module")
def alone() -> dict[tuple[str, str], Taken]:
    """What one process holds after a step in each of the cases."""
    return {case: take(Manner(**SHARED[case[0]])) for case in CASES}


@pytest.fixture(scope="module")
def together(
    alone: dict[tuple[str, str], Taken], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Taken]:
    """The same of two ranks, and ("resumed", ...): a second step, from what one process had gathered."""
    manners = [manner(*case) for case in CASES] + [Manner(**LONGER, run={"parallel": each}) for each in PARALLEL]
    taken = take_together(manners, tmp_path_factory.mktemp("ranks"), state=alone[CASES[0]].state)
    more = [(name, each) for name in ("longer", "resumed") for each in PARALLEL]
    return dict(zip([*CASES, *more], taken, strict=True))


def pieces_of_ranks() -> list[range]:
    """Rows that go through the network together: of a ResNet two ranks give other gradients than one."""
    return [range(NUM_ROWS // 2), range(NUM_ROWS // 2, NUM_ROWS)]


@pytest.mark.parametrize("case", CASES, ids=map(": ".join, CASES))
def test_ranks_give_the_gradients_of_the_whole_batch(
    case: tuple[str, str], together: dict[tuple[str, str], Taken], alone: dict[tuple[str, str], Taken]
) -> None:
    """DDP and FSDP, with everything else: the plain reference's gradients, scale and bias included."""
    one = manner(*case)
    wanted = plain(one, pieces_of_ranks()) if case[0] == "ResNet" else plain(one)
    numbers, bound = together[case].numbers, one.recipe().optimiser.max_gradient_norm
    norm = torch.stack([gradient.norm() for gradient in wanted.values()]).norm()
    assert float(numbers.gradient_norm) == pytest.approx(float(norm), rel=1e-5)
    scaled = {name: gradient * (bound / norm if bound else 1) for name, gradient in wanted.items()}
    assert error(together[case].gradients, scaled) < (5e-6 if bound else TOLERANCE)  # 1e-6 is added to a bounded norm
    if case[0] != "ResNet":
        assert float(numbers.loss) == pytest.approx(float(alone[case].numbers.loss), rel=1e-6)
        assert float(numbers.accuracy) == pytest.approx(float(alone[case].numbers.accuracy))
        assert float(numbers.scale) == float(alone[case].numbers.scale)


@pytest.mark.parametrize("case", CASES, ids=map(": ".join, CASES))
def test_what_is_gathered_is_whole_and_named_as_alone(
    case: tuple[str, str], together: dict[tuple[str, str], Taken], alone: dict[tuple[str, str], Taken]
) -> None:
    """Weights and moments of a checkpoint: names, shapes and precisions do not tell how many ranks there were."""
    ours, theirs = together[case].state, alone[case].state
    assert {name: (one.shape, one.dtype) for name, one in ours.items()} == {
        name: (one.shape, one.dtype) for name, one in theirs.items()
    }
    for name, one in together[case].moments.items():
        if name.endswith(".exp_avg") and case[0] != "ResNet":
            size = float(theirs[name].float().norm()) + 1e-6
            assert float((one.float() - theirs[name].float()).norm()) / size < (
                0.02 if one.dtype == torch.bfloat16 else 1e-3
            ), name


@pytest.mark.parametrize("case", CASES, ids=map(": ".join, CASES))
def test_a_model_shared_out_is_evaluated_by_its_present_weights(
    case: tuple[str, str], together: dict[tuple[str, str], Taken]
) -> None:
    """Embeddings after a step are those of the weights gathered then, not of what an earlier look had gathered."""
    model = manner(*case).build()
    model.load_state_dict(together[case].weights)
    torch.testing.assert_close(together[case].embeddings, embed(model, manner(*case)))


def test_fsdp_holds_half(together: dict[tuple[str, str], Taken]) -> None:
    """Of two ranks each has half of every weight, and the scale as a whole."""
    whole = together["contrastive", "ddp"].local_elements
    assert together["contrastive", "fsdp"].local_elements == pytest.approx(whole / 2, rel=0.02)
    assert together["contrastive", "fsdp"].weights["logit_scale"].shape == ()


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_running_statistics_are_the_mean_of_the_ranks(parallel: str, together: dict[tuple[str, str], Taken]) -> None:
    """Each rank normalises by its own rows; what evaluation will use is the mean over the ranks."""
    halves = []
    for rows in pieces_of_ranks():
        one = Manner(**SHARED["ResNet"])
        model, (images, tokens) = one.build().train(), one.batch()
        model(normalise_images(images[list(rows)]), torch.from_numpy(tokens[list(rows)]))
        halves.append(dict(model.named_buffers()))
    found = together["ResNet", parallel].weights
    for name in (name for name in halves[0] if "running" in name):
        torch.testing.assert_close(found[name], (halves[0][name] + halves[1][name]) / 2, msg=name)


def test_a_state_goes_on_in_another_world(
    together: dict[tuple[str, str], Taken], alone: dict[tuple[str, str], Taken]
) -> None:
    """What two ranks gathered goes on in one process, and what one gathered in two, shared out: the same next step."""
    one = Manner(**SHARED["contrastive"])
    wanted = take(one, state=alone["contrastive", "ddp"].state)
    found = [together["resumed", "ddp"], together["resumed", "fsdp"]]
    found += [take(one, state=together["contrastive", parallel].state) for parallel in ("ddp", "fsdp")]
    for taken in found:
        assert float(taken.numbers.loss) == pytest.approx(float(wanted.numbers.loss), rel=1e-3)
        assert all(float(value) == 2 for name, value in taken.moments.items() if name.endswith(".step"))
        torch.testing.assert_close(taken.embeddings, wanted.embeddings, rtol=0, atol=0.02)
    for taken in found[:2]:  # from the very same weights
        assert error(taken.gradients, wanted.gradients) < TOLERANCE
        for name, value in wanted.moments.items():
            torch.testing.assert_close(taken.moments[name], value, rtol=1e-3, atol=1e-5, msg=name)
    for name, value in found[2].state.items():
        assert torch.equal(found[3].state[name], value), name


@pytest.mark.parametrize("parallel", PARALLEL)
def test_several_steps_of_ranks_are_those_of_one(parallel: str, together: dict[tuple[str, str], Taken]) -> None:
    """Gradients are forgotten and made anew in place, step after step: losses and weights stay those of one process."""
    wanted, found = take(Manner(**LONGER)), together["longer", parallel]
    assert float(found.numbers.loss) == pytest.approx(float(wanted.numbers.loss), rel=1e-4)
    begun = Manner(**LONGER).build().state_dict()
    changes = [{name: one[name] - begun[name] for name in begun} for one in (found.weights, wanted.weights)]
    assert error(changes[0], changes[1]) < 1e-4


@pytest.mark.slow
def test_blocks_are_compiled_inside_what_is_shared_out(tmp_path: Path) -> None:
    """Checkpointing, then compiling, then FSDP around both: the plain reference's gradients, names as ever."""
    one = Manner(run={"checkpoint_blocks": True, "compile": True, "parallel": "fsdp"})
    (taken,) = take_together([one], tmp_path)
    assert error(taken.gradients, plain(one)) < TOLERANCE
    assert taken.weights.keys() == one.build().state_dict().keys()


def test_rows_are_shared_out_evenly_or_not_at_all() -> None:
    """The ranks' rows are the batch, in order; a batch that cannot be shared out evenly is a mistake in the recipe."""
    shares = [list(Ranks(rank, 4, rank, 4).rows(12)) for rank in range(4)]
    assert [row for share in shares for row in share] == list(range(12))
    assert {len(share) for share in shares} == {3}
    assert ALONE.rows(5) == range(5)
    with pytest.raises(UserError, match=r"data\.batch_size: expected a multiple of 4, .* found 13"):
        Ranks(0, 4).rows(13)


def test_the_place_comes_from_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process alone is rank 0 of 1; half an environment is said to be one."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert find_ranks() == ALONE
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(UserError, match="expected RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE as torchrun sets"):
        find_ranks()
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    assert find_ranks() == Ranks(5, 8, 1, 4)
