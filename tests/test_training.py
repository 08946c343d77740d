"""The training loop: same bits after an interruption of any kind, clear stops, clean global state, several processes."""

import copy
import importlib.util
import math
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from contrastive_nb import checkpoints
from contrastive_nb.checkpoints import differences
from contrastive_nb.encoders import Encoder, mlp_encoder, projector, seeded
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import Pairs, two_views, with_queue
from contrastive_nb.training import (
    Clock,
    History,
    Momentum,
    Queue,
    accelerating,
    fit,
    interrupts,
    learning_rate,
    momentum_update,
    parameter_groups,
    slow_copy,
)

ITEMS = torch.rand(200, 12, generator=torch.Generator().manual_seed(0))
LOSS = partial(info_nce, temperature=0.5)


@pytest.fixture(autouse=True)
def interruptible():
    "A test run that was started in the background has Ctrl-C switched off; these tests send it."
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def sample(generator):
    x = ITEMS[torch.randint(len(ITEMS), (32,), generator=generator)]
    return tuple(x + 0.1 * torch.randn(x.shape, generator=generator) for _ in range(2))


def build(model, a, b):
    return two_views(model(a), model(b))


def make(dropout=0.2):
    return seeded(0, lambda: Encoder(nn.Sequential(mlp_encoder(12, 16, 32), nn.Dropout(dropout)), projector(16, 16, 8)))


def same(a, b):
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


class Stop(Exception):
    pass


def stopping(at, error):
    "A sampler that raises at its call number `at`, after it has drawn."
    calls = iter(range(10**6))

    def stopped(generator):
        batch = sample(generator)
        if next(calls) == at:
            raise error
        return batch

    return stopped


# --- one process ----------------------------------------------------------------------------------------------------------------


def test_equals_a_loop_in_plain_torch():
    "The same calls on the same numbers, hence the same bits: Adam would turn a difference in a gradient of 0 into whole steps."
    ours, plain = make(0.0), make(0.0)
    history = fit(ours, sample, build, LOSS, steps=5, lr=0.01, seed=3, weight_decay=0.1)
    generator = torch.Generator().manual_seed(3)
    matrices, others = ([p for p in plain.parameters() if (p.dim() > 1) == wide] for wide in (True, False))
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}])
    losses = []
    for step in range(5):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 + math.cos(math.pi * step / 5)) / 2
        loss = LOSS(*build(plain.train(), *sample(generator)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert history.losses == losses and history.steps == 5 and history.resumed_from is None and history.seconds > 0
    assert same(ours, plain)


def test_repeats_bit_for_bit_and_touches_no_global_generator():
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    one, two, other = make(), make(), make()
    first, second = (fit(model, sample, build, LOSS, steps=6) for model in (one, two))
    assert same(one, two) and first.losses == second.losses
    fit(other, sample, build, LOSS, steps=6, seed=1)
    assert not same(one, other)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[2]
    assert np.random.get_state()[1].tolist() == states[1]


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, Stop])
def test_an_interrupted_training_ends_in_the_same_bits(tmp_path, precision, stop):
    whole, broken = make(), make()
    settings = dict(steps=12, lr=0.01, precision=precision, save_every=3)
    unbroken = fit(whole, sample, build, LOSS, **settings)
    path = tmp_path / "deep" / "run.pt"
    with pytest.raises(stop):
        fit(broken, stopping(7, stop), build, LOSS, **settings, checkpoint=path)
    again = make()
    history = fit(again, sample, build, LOSS, **settings, checkpoint=path)
    assert history.resumed_from == (7 if stop is KeyboardInterrupt else 6)  # an interrupt saves, another error leaves the last save
    assert same(whole, again) and history.losses == unbroken.losses
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]


def test_a_finished_training_is_found_again(tmp_path):
    path = tmp_path / "run.pt"
    one, two = make(), make()
    first = fit(one, sample, build, LOSS, steps=4, checkpoint=path)
    before = path.stat().st_mtime_ns
    second = fit(two, stopping(0, Stop), build, LOSS, steps=4, checkpoint=path)
    assert same(one, two) and second == History(first.losses, 4, first.seconds, 4) and path.stat().st_mtime_ns == before


def test_stops_at_a_loss_that_is_not_finite_and_keeps_the_step_before(tmp_path):
    def poisoned(generator):
        a, b = sample(generator)
        poisoned.calls += 1
        return (a * math.nan if poisoned.calls == 6 else a), b

    path, model, until = tmp_path / "run.pt", make(), make()
    poisoned.calls = 0
    with pytest.raises(FloatingPointError, match=r"step 5: the loss is nan \(scores: not finite, first at query 0"):
        fit(model, poisoned, build, LOSS, steps=9, checkpoint=path)
    saved = torch.load(path, weights_only=True)
    assert len(saved["losses"]) == 5 and all(torch.isfinite(value).all() for value in saved["parts"].values())
    with pytest.raises(KeyboardInterrupt):
        fit(until, stopping(5, KeyboardInterrupt), build, LOSS, steps=9)
    assert same(model, until)  # weights and running averages are those of before the bad batch
    whole = make()
    fit(whole, sample, build, LOSS, steps=9)
    history = fit(model, sample, build, LOSS, steps=9, checkpoint=path)
    assert history.resumed_from == 5 and same(model, whole)


def test_an_infinite_loss_without_pairs_stops_too():
    weight = nn.Linear(2, 1)
    with pytest.raises(FloatingPointError, match="step 0: the loss is inf; the weights"):
        fit(weight, lambda g: (torch.ones(3, 2),), lambda m, x: (m(x),), lambda y: (y.square().sum() + 1) * math.inf, steps=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 5}, "steps: the checkpoint has 4, this call 5"),
        ({"lr": 0.5}, "lr: the checkpoint has 0.001, this call 0.5"),
        ({"weight_decay": 0.0}, "weight_decay"),
        ({"schedule": "constant"}, "schedule"),
        ({"seed": 1}, "seed"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_refuses_a_checkpoint_of_other_settings(tmp_path, change, words):
    path = tmp_path / "run.pt"
    fit(make(), sample, build, LOSS, steps=4, checkpoint=path)
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=words) as caught:
        fit(model, sample, build, LOSS, **({"steps": 4} | change), checkpoint=path)
    assert str(path) in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_refuses_a_checkpoint_of_another_model_and_a_file_that_is_none(tmp_path):
    path = tmp_path / "run.pt"
    fit(make(), sample, build, LOSS, steps=2, checkpoint=path)
    wider = Encoder(nn.Sequential(mlp_encoder(12, 16, 64), nn.Dropout()), projector(16, 16, 8))
    words = r"shape of model.backbone.0.1.weight: the checkpoint has \(32, 12\), this call \(64, 12\).*and 3 more\)"
    with pytest.raises(ValueError, match=words):
        fit(wider, sample, build, LOSS, steps=2, checkpoint=path)
    for content in (b"", b"not a checkpoint", path.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="checkpoint: .*run.pt is not one of fit's"):
            fit(make(), sample, build, LOSS, steps=2, checkpoint=path)


def test_pairs_are_checked_on_the_first_step_only():
    looked = []

    class Watched(Pairs):
        def check(self):
            looked.append(True)
            return super().check()

    fit(make(), sample, lambda m, a, b: Watched(*build(m, a, b)), LOSS, steps=3)
    assert len(looked) == 1
    overlap = lambda m, a, b: (p := build(m, a, b))._replace(negatives=p.negatives | p.positives)  # noqa: E731
    with pytest.raises(ValueError, match="overlap"):
        fit(make(), sample, overlap, LOSS, steps=3)


def test_build_and_objective_may_learn_and_remember(tmp_path):
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_temperature = nn.Parameter(torch.tensor(0.0))
            self.register_buffer("calls", torch.zeros((), dtype=torch.long))

        def forward(self, *pairs):
            self.calls += 1
            return info_nce(*pairs, temperature=self.log_temperature.exp())

    learned, path = Learned(), tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(make(), stopping(3, KeyboardInterrupt), build, learned, steps=6, lr=0.1, checkpoint=path)
    assert learned.calls == 3 and learned.log_temperature.item() != 0
    again, whole = Learned(), Learned()
    fit(make(), sample, build, again, steps=6, lr=0.1, checkpoint=path)
    fit(make(), sample, build, whole, steps=6, lr=0.1)
    assert again.calls == 6 and again.log_temperature.item() == whole.log_temperature.item()


def test_mixed_precision_on_the_cpu_hands_float32_to_the_objective():
    seen = []

    def objective(*parts):
        seen.append([part.dtype for part in parts if part is not None and part.is_floating_point()])
        assert not torch.is_autocast_enabled("cpu")
        return LOSS(*parts)

    model, inside = make(), []
    model.backbone[0][1].register_forward_hook(lambda module, given, out: inside.append(out.dtype))
    history = fit(model, sample, build, objective, steps=4, precision="bf16")
    assert all(map(math.isfinite, history.losses)) and set(sum(seen, [])) == {torch.float32} and set(inside) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in model.parameters())
    plain = fit(make(), sample, build, LOSS, steps=4)
    assert plain.losses != history.losses and np.allclose(plain.losses, history.losses, atol=0.05)

    def raw(model, a, b):  # half-precision embeddings are widened on the way to the objective
        return model(a), model(b)

    def widened(a, b):
        seen[:] = [[a.dtype, b.dtype]]
        return -(a * b).mean()

    linear = nn.Linear(12, 3)
    fit(linear, sample, raw, widened, steps=1, precision="bf16")
    assert seen == [[torch.float32, torch.float32]]


def test_accelerate_keeps_nothing_between_trainings_and_gives_the_users_own_back():
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    for precision in ("no", "bf16", "no"):
        fit(make(), sample, build, LOSS, steps=1, precision=precision)
        assert AcceleratorState._shared_state == {} and PartialState._shared_state == {}
    mine = Accelerator(mixed_precision="bf16", cpu=True, gradient_accumulation_steps=4)
    try:
        fit(make(), sample, build, LOSS, steps=1)
        assert mine.mixed_precision == "bf16" and mine.gradient_accumulation_steps == 4
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_accelerating_gives_back_after_an_error():
    from accelerate.state import AcceleratorState

    with pytest.raises(Stop), accelerating("cpu", "bf16") as accelerator:
        assert accelerator.mixed_precision == "bf16" and accelerator.device.type == "cpu"
        raise Stop
    assert AcceleratorState._shared_state == {}
    with pytest.raises(ValueError, match="precision: got 'fp16' on the CPU"), accelerating("cpu", "fp16"):
        pass


# --- how the weights move -------------------------------------------------------------------------------------------------------


def in_plain_torch(model, optimizer, steps, rate, clip=None, seed=3):
    generator, losses = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step) * group.get("share", 1)
        loss = LOSS(*build(model.train(), *sample(generator)))
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_sgd_warmup_and_clip_equal_a_loop_in_plain_torch():
    ours, plain = make(0.0), make(0.0)
    kinds = dict(optimizer="sgd", warmup=4, clip=0.2, weight_decay=0.1)
    history = fit(ours, sample, build, LOSS, steps=10, lr=0.3, seed=3, **kinds)
    optimizer = torch.optim.SGD(parameter_groups(plain, 0.1), lr=1.0, momentum=0.9)
    rate = lambda step: 0.3 * (step + 1) / 4 if step < 4 else 0.3 * (1 + math.cos(math.pi * (step - 4) / 6)) / 2  # noqa: E731
    assert history.losses == in_plain_torch(plain, optimizer, 10, rate, clip=0.2) and same(ours, plain)
    unclipped = fit(make(0.0), sample, build, LOSS, steps=10, lr=0.3, seed=3, **(kinds | {"clip": None}))
    assert unclipped.losses != history.losses


def test_an_optimizer_of_ones_own_and_groups_of_a_function_equal_a_loop_in_plain_torch():
    ours, plain = make(0.0), make(0.0)
    by_depth = lambda model: [  # noqa: E731
        {"params": model.backbone.parameters(), "lr": 0.01, "weight_decay": 0.0},
        {"params": model.head.parameters(), "lr": 0.02, "weight_decay": 0.0},
    ]
    adam = lambda groups: torch.optim.Adam(groups, betas=(0.5, 0.9))  # noqa: E731
    history = fit(ours, sample, build, LOSS, steps=6, seed=3, optimizer=adam, groups=lambda parts: by_depth(parts["model"]))
    slow, fast = by_depth(plain)
    optimizer = adam([slow, fast | {"share": 2}])
    assert history.losses == in_plain_torch(plain, optimizer, 6, lambda step: learning_rate(step, 6, 0.01)) and same(ours, plain)


class Warm(nn.Module):
    "An objective with a temperature that is learned, two numbers of it, so that it may be decayed."

    def __init__(self):
        super().__init__()
        self.log_temperature = nn.Parameter(torch.full((1, 1), -0.7))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, *pairs):
        self.calls += 1
        return info_nce(*pairs, temperature=self.log_temperature.exp())


def test_groups_by_part():
    model, warm = make(), Warm()
    before, start = {name: x.clone() for name, x in model.named_parameters()}, warm.log_temperature.item()
    fit(model, sample, build, warm, steps=3, groups={"model": {"lr": 0.0}})
    assert all(torch.equal(before[name], x) for name, x in model.named_parameters()) and warm.log_temperature.item() != start
    model, warm = make(), Warm()
    fit(model, sample, build, warm, steps=1, lr=0.1, schedule="constant", optimizer="sgd", groups={"objective": {"weight_decay": 1e4}})
    assert abs(warm.log_temperature.item()) > 100  # decayed far beyond zero
    assert all((x - before[name]).abs().max() < 10 for name, x in model.named_parameters())


def test_what_two_parts_share_is_in_one_group():
    class Holds(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.scale = model, nn.Parameter(torch.ones(()))

        def forward(self, model, a, b):
            return two_views(self.scale * self.model(a), model(b))

    model, seen = make(), []

    def optimizer(groups):
        seen.extend(groups)
        return torch.optim.SGD(groups)

    fit(model, sample, Holds(model), LOSS, steps=1, optimizer=optimizer, groups={"build": {"lr": 0.5}})
    assert [len(group["params"]) for group in seen if group["lr"] == 0.5] == [1]
    assert sum(len(group["params"]) for group in seen) == len(list(model.parameters())) + 1


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"optimizer": "lion"}, ValueError, "optimizer: got 'lion', want one of 'adamw', 'sgd'"),
        ({"optimizer": lambda groups: groups}, TypeError, "optimizer: gave list, want a torch.optim.Optimizer"),
        ({"groups": {"modle": {}}}, ValueError, "groups: got 'modle', want parts that learn, here 'model'"),
        ({"groups": {"objective": {}}}, ValueError, "groups: got 'objective', want parts that learn"),
        ({"groups": {"model": {"lr": -1.0}}}, ValueError, "lr in groups: got -1.0"),
        ({"groups": 3}, TypeError, "groups: got int"),
        (
            {"groups": lambda parts: [{"params": parts["model"].head.parameters()}]},
            ValueError,
            "groups: model.backbone.0.1.weight is in none",
        ),
        ({"warmup": -1}, ValueError, "warmup: got -1"),
        ({"warmup": 3}, ValueError, "warmup: got 3, want at most 2, all steps"),
        ({"clip": 0.0}, ValueError, "clip: got 0.0"),
        ({"refresh": print}, ValueError, "refresh, refresh_every: got one of them"),
        ({"refresh_every": 3}, ValueError, "refresh, refresh_every: got one of them"),
        ({"refresh": 3, "refresh_every": 3}, TypeError, "refresh: got int, want a function"),
        ({"refresh": print, "refresh_every": 0}, ValueError, "refresh_every: got 0"),
        ({"model": "m"}, TypeError, "model: got str, want a torch.nn.Module"),
        ({"sample": [1]}, TypeError, "sample: got list, want a function"),
        ({"build": None}, TypeError, "build: got NoneType, want a function"),
        ({"objective": 0.5}, TypeError, "objective: got float, want a function"),
        ({"checkpoint": 3}, TypeError, "checkpoint: got int, want the path of a file"),
        ({"tracker": 3}, TypeError, "tracker: got int"),
        ({"tracker": "blackboard"}, ValueError, "tracker: got 'blackboard', want one of .*'tensorboard'"),
    ],
)
def test_wrong_keywords_are_named(wrong, error, words):
    with pytest.raises(error, match=words):
        fit(**({"model": make(), "sample": sample, "build": build, "objective": LOSS, "steps": 2} | wrong))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "sgd"}, "optimizer: the checkpoint has 'adamw', this call 'sgd'"),
        ({"optimizer": torch.optim.Adam}, "optimizer: the checkpoint has 'adamw', this call {'class': 'Adam'"),
        ({"warmup": 1}, "warmup: the checkpoint has 0, this call 1"),
        ({"clip": 1.0}, "clip: the checkpoint has None, this call 1.0"),
        ({"groups": {"model": {"lr": 0.1}}}, "groups: the checkpoint has None"),
        ({"refresh": lambda model, step: None, "refresh_every": 2}, "refresh_every: the checkpoint has None, this call 2"),
    ],
)
def test_refuses_a_checkpoint_of_another_way(tmp_path, change, words):
    path = tmp_path / "run.pt"
    fit(make(), sample, build, LOSS, steps=4, checkpoint=path)
    with pytest.raises(ValueError, match=words):
        fit(make(), sample, build, LOSS, steps=4, checkpoint=path, **change)


def test_refuses_a_checkpoint_of_the_same_optimizer_set_otherwise(tmp_path):
    adam = lambda first: lambda groups: torch.optim.Adam(groups, betas=(first, 0.9))  # noqa: E731
    fit(make(), sample, build, LOSS, steps=2, checkpoint=tmp_path / "run.pt", optimizer=adam(0.5))
    with pytest.raises(ValueError, match=r"optimizer of betas: the checkpoint has \(0.5, 0.9\), this call \(0.8, 0.9\)"):
        fit(make(), sample, build, LOSS, steps=2, checkpoint=tmp_path / "run.pt", optimizer=adam(0.8))


# --- gradients that are none ----------------------------------------------------------------------------------------------------


class Rooted(Warm):
    "From its call number `bad` on the loss is as before and its gradient is not: the slope of the root is infinite at 0."

    def __init__(self, bad, through="scores"):
        super().__init__()
        self.bad, self.through = bad, through

    def forward(self, *pairs):
        loss = super().forward(*pairs)
        source = pairs[0].sum() if self.through == "scores" else self.log_temperature.sum()
        return loss + (source * 0.0).sqrt() if self.calls > self.bad else loss


@pytest.mark.parametrize(("through", "named"), [("scores", "model.backbone.0.1.weight"), ("temperature", "objective.log_temperature")])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_stops_at_the_step_whose_gradient_is_not_finite(tmp_path, through, named, clip):
    path, other = tmp_path / "run.pt", tmp_path / "other.pt"
    model, rooted = make(), Rooted(5, through)
    kinds = dict(steps=9, lr=0.01, clip=clip, save_every=2)
    with pytest.raises(FloatingPointError, match=f"step 5: the gradient of {named} is not finite, the loss is [0-9.]+; the weights are"):
        fit(model, sample, build, rooted, **kinds, checkpoint=path)
    until, warm = make(), Warm()
    with pytest.raises(KeyboardInterrupt):
        fit(until, stopping(5, KeyboardInterrupt), build, warm, **kinds, checkpoint=other)
    assert same(model, until) and same(rooted, warm) and warm.calls == 5  # weights, averages and the objective's own
    assert all(p.grad is None for p in [*model.parameters(), *rooted.parameters()])
    one, two = checkpoints.read(path), checkpoints.read(other)
    del one["seconds"], two["seconds"]
    assert alike(one, two)  # parts, moments, random state
    whole, resumed = make(), make()
    straight = fit(whole, sample, build, Warm(), **kinds)
    history = fit(resumed, sample, build, Warm(), **kinds, checkpoint=path)
    assert history.resumed_from == 5 and history.losses == straight.losses and same(whole, resumed)


def alike(one, two) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(alike(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(alike, one, two))
    return one == two


def test_a_gradient_whose_norm_alone_is_too_large_for_float32_is_no_reason_to_stop():
    scaled = lambda *pairs: LOSS(*pairs) * 1e30  # noqa: E731
    history = fit(make(), sample, build, scaled, steps=3, optimizer="sgd", lr=1e-9, clip=1.0)
    plain = make()
    fit(plain, sample, build, scaled, steps=3, optimizer="sgd", lr=1e-9, clip=1.0)
    assert len(history.losses) == 3 and all(p.isfinite().all() for p in plain.parameters())
    assert not same(plain, make())  # and it moved: its length was not taken for infinite


@pytest.mark.parametrize("clip", [None, 1.0])
def test_the_scaler_of_half_precision_skips_what_overflows(monkeypatch, clip):
    "The scale overflows at first; the scaler lowers it at each step that it leaves out."
    import contextlib

    from contrastive_nb import training

    scaler, usual = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=0.0625), training.accelerating

    @contextlib.contextmanager
    def scaling(*arguments):
        with usual(*arguments) as accelerator:
            accelerator.scaler = scaler
            yield accelerator

    monkeypatch.setattr(training, "accelerating", scaling)
    model, moved = make(), []
    before = model.backbone[0][1].weight.clone()

    def watched(generator):
        moved.append(not torch.equal(before, model.backbone[0][1].weight))
        return sample(generator)

    history = fit(model, watched, build, lambda *pairs: LOSS(*pairs) * 1e3, steps=8, clip=clip)
    assert not moved[1] and moved[-1] and scaler.get_scale() < 2.0**127
    assert all(map(math.isfinite, history.losses)) and all(x.isfinite().all() for x in model.parameters())


# --- checkpoints ----------------------------------------------------------------------------------------------------------------


def never(generator):
    raise AssertionError("a step was begun")


@pytest.mark.parametrize("wrong", ["folder", "file above", "no such device"])
def test_a_checkpoint_that_cannot_be_written_is_told_before_the_first_step(tmp_path, wrong):
    (tmp_path / "file").write_text("x")
    path = {"folder": tmp_path, "file above": tmp_path / "file" / "run.pt", "no such device": "/proc/1/nothing/run.pt"}[wrong]
    with pytest.raises(ValueError, match="^checkpoint: .* cannot be (read|written) ") as caught:
        fit(make(), never, build, LOSS, steps=2, checkpoint=path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to this user")
def test_a_closed_folder_is_told_before_the_first_step(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ValueError, match="^checkpoint: .* cannot be written .Permission denied"):
        fit(make(), never, build, LOSS, steps=2, checkpoint=tmp_path / "closed" / "run.pt")


def test_a_done_training_in_a_folder_that_cannot_be_written_is_found(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    fit(make(), sample, build, LOSS, steps=2, checkpoint=path)

    def closed(path):
        raise ValueError("checkpoint: closed")

    monkeypatch.setattr(checkpoints, "try_place", closed)
    assert fit(make(), never, build, LOSS, steps=2, checkpoint=path).resumed_from == 2


def test_every_flipped_byte_is_found(tmp_path):
    path = tmp_path / "run.pt"
    linear = lambda: seeded(0, lambda: nn.Linear(12, 3))  # noqa: E731
    fit(linear(), sample, build, LOSS, steps=2, checkpoint=path)
    content = path.read_bytes()
    assert len(torch.load(path, weights_only=True)["losses"]) == 2  # it is torch's own file, with a line behind
    for place in [*range(0, len(content), len(content) // 60), *range(len(content) - 80, len(content) - 1)]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match="^checkpoint: .*run.pt (was damaged|is not one of fit's)"):
            fit(linear(), never, build, LOSS, steps=2, checkpoint=path)


def within(saved, path, value):
    "The saved dictionary with one entry, somewhere inside, that is another one; or without it."
    *above, last = path
    inside = saved
    for key in above:
        inside = inside[key]
    if value is None:
        del inside[last]
    else:
        inside[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(((key,), None) for key in ("settings", "parts", "optimizer", "scaler", "random_state", "own", "losses", "seconds")),
        (("settings",), "other"), (("parts",), {}), (("parts",), [1]), (("losses",), 3), (("random_state",), []), (("own",), []),
        (("random_state", 0, "torch"), None), (("random_state", 0, "generator"), torch.zeros(3)), (("optimizer", "param_groups"), []),
        (("optimizer", "state"), None), (("parts", "model.backbone.0.1.weight"), None),
        (("parts", "model.backbone.0.1.weight"), torch.zeros(2)), (("parts", "model.more"), torch.zeros(2)),
    ],
)  # fmt: skip
def test_what_lacks_inside_is_told_and_nothing_is_half_taken_up(tmp_path, path, value):
    file, model = tmp_path / "run.pt", make()
    fit(make(), sample, build, LOSS, steps=2, checkpoint=file)
    saved = checkpoints.read(file)
    within(saved, path, value)
    checkpoints.write(file, saved)
    with pytest.raises(ValueError, match="^checkpoint: .*run.pt .*move it away to start anew$"):
        fit(model, never, build, LOSS, steps=2, checkpoint=file)
    if path[0] == "parts":
        assert same(model, make())


def test_a_file_of_torch_alone_is_none_of_ours(tmp_path):
    torch.save({"losses": []}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="checkpoint: .*run.pt is not one of fit's"):
        fit(make(), never, build, LOSS, steps=2, checkpoint=tmp_path / "run.pt")


def test_extra_state_that_no_checkpoint_takes_in_is_told_before_the_first_step(tmp_path):
    class Odd(nn.Module):
        def get_extra_state(self):
            return np.float64(3.0).__class__

        def set_extra_state(self, state):
            pass

        def forward(self, generator):
            never(generator)

    with pytest.raises(TypeError, match="checkpoint: sample._extra_state is type, want tensors, numbers, text"):
        fit(make(), Odd(), build, LOSS, steps=2, checkpoint=tmp_path / "run.pt")


def test_what_a_killed_training_left_is_removed_by_the_next(tmp_path):
    for name in ("run.pt.12.part", "run.pt.345.part", "other.pt.12.part"):
        (tmp_path / name).write_bytes(b"half")
    fit(make(), sample, build, LOSS, steps=1, checkpoint=tmp_path / "run.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.pt.12.part", "run.pt"]


# --- clocks and trackers --------------------------------------------------------------------------------------------------------


def test_a_clock_in_any_part_is_right_in_every_step(tmp_path):
    class Timed(nn.Module):
        def __init__(self, inside):
            super().__init__()
            self.clock, self.inside, self.seen = Clock(), inside, []

        def forward(self, *arguments):
            self.seen.append(self.clock.share)
            return self.inside(*arguments)

    def parts():
        return [Timed(inside) for inside in (sample, build, LOSS)]

    first = parts()
    with pytest.raises(KeyboardInterrupt):
        fit(make(), first[0], first[1], Timed(stopping_objective(4)), steps=8, checkpoint=tmp_path / "run.pt")
    again = parts()
    fit(make(), *again, steps=8, checkpoint=tmp_path / "run.pt")
    assert first[1].seen == [k / 8 for k in range(5)] and first[1].clock.step == 4
    assert all(part.seen == [k / 8 for k in range(4, 8)] and part.clock.share == 1 for part in again)
    assert Clock().share == 0


def stopping_objective(at):
    calls = iter(range(10**6))

    def objective(*pairs):
        if next(calls) == at:
            raise KeyboardInterrupt
        return LOSS(*pairs)

    return objective


def test_a_clock_refuses_by_name():
    with pytest.raises(ValueError, match="step: got -1"):
        Clock().set(-1, 2)
    with pytest.raises(ValueError, match="steps: got 0"):
        Clock().set(0, 0)


class Notes:
    def __init__(self):
        self.rows = []

    def log(self, values, step):
        self.rows.append((step, values))


@pytest.mark.parametrize("kind", ["object", "function", "accelerate's"])
def test_a_tracker_hears_of_every_step(tmp_path, kind):
    from accelerate.tracking import GeneralTracker

    class Own(GeneralTracker):
        name, requires_logging_directory, tracker = "own", False, None

        def __init__(self):
            super().__init__()
            self.rows = []

        def log(self, values, step=None, **more):
            self.rows.append((step, values))

    notes = Own() if kind == "accelerate's" else Notes()
    tracker = notes.log if kind == "function" else notes
    with pytest.raises(KeyboardInterrupt):
        fit(make(), stopping(3, KeyboardInterrupt), build, LOSS, steps=6, checkpoint=tmp_path / "run.pt", tracker=tracker)
    history = fit(make(), sample, build, LOSS, steps=6, checkpoint=tmp_path / "run.pt", tracker=tracker)
    assert [step for step, _ in notes.rows] == list(range(6)) and all(set(row) == {"loss", "lr", "seconds"} for _, row in notes.rows)
    assert [row["loss"] for _, row in notes.rows] == history.losses
    assert [row["lr"] for _, row in notes.rows] == [learning_rate(step, 6, 1e-3) for step in range(6)]
    seconds = [row["seconds"] for _, row in notes.rows]
    assert seconds == sorted(seconds) and seconds[-1] == history.seconds


def test_a_tracker_by_its_name_is_opened_and_closed(tmp_path, monkeypatch):
    from accelerate import tracking

    heard = []

    class Written(tracking.GeneralTracker):
        name, requires_logging_directory, tracker = "written", True, None

        def __init__(self, run_name, logging_dir):
            super().__init__()
            heard.append((run_name, logging_dir))

        def store_init_configuration(self, values):
            heard.append({key: values[key] for key in ("steps", "lr", "optimizer")})

        def log(self, values, step=None, **more):
            heard.append(step)

        def finish(self):
            heard.append("closed")

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "written", Written)
    with pytest.raises(Stop):
        fit(make(), stopping(2, Stop), build, LOSS, steps=3, tracker="written", checkpoint=tmp_path / "run.pt")
    assert heard == [("run", str(tmp_path / "logs")), {"steps": 3, "lr": 1e-3, "optimizer": "adamw"}, 0, 1, "closed"]


@pytest.mark.skipif(any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX"))), reason="tensorboard is installed")
def test_a_tracker_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(ImportError, match="tracker: 'tensorboard' is not installed here"):
        fit(make(), never, build, LOSS, steps=3, tracker="tensorboard", checkpoint=tmp_path / "run.pt")


@pytest.mark.skipif(not any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX"))), reason="needs tensorboard")
def test_tensorboard_writes_beside_the_checkpoint(tmp_path):
    fit(make(), sample, build, LOSS, steps=3, tracker="tensorboard", checkpoint=tmp_path / "run.pt")
    assert list((tmp_path / "logs" / "run").rglob("events*"))


# --- memory ---------------------------------------------------------------------------------------------------------------------


def test_momentum_is_a_queue_and_a_slow_encoder():
    model = make(0.0)
    memory = Momentum(model, with_queue, 0.9, Queue(64, 8))
    a, b = sample(torch.Generator().manual_seed(0))
    old, slow = copy.deepcopy(memory.slow), slow_copy(model)
    first, second = memory(model, a, b), memory(model, a, b)
    assert first.scores.shape == (32, 1) and second.scores.shape == (32, 33)
    key = slow(b)
    torch.testing.assert_close(memory.queue.keys()[:32], key)
    torch.testing.assert_close(second.scores, with_queue(model(a), key, key).scores)
    with torch.no_grad():
        for p in model.parameters():
            p += 1
    memory(model, a, b)
    weight, before = memory.slow.state_dict()["head.0.weight"], old.state_dict()["head.0.weight"]
    torch.testing.assert_close(weight, before + 0.1)


def test_momentum_without_a_queue_and_with_a_clock():
    model, given = make(0.0), []
    memory = Momentum(model, lambda *z: given.append(len(z)) or two_views(*z[:2]), lambda share: share, None)
    memory.clock.set(1, 1)
    weight = memory.slow.state_dict()["head.0.weight"].clone()
    with torch.no_grad():
        for p in model.parameters():
            p += 1
    a, b = sample(torch.Generator().manual_seed(0))
    memory(model, a, b)
    assert torch.equal(memory.slow.state_dict()["head.0.weight"], weight) and given == [2]  # a momentum of 1 stands still
    memory(model, a, b, torch.arange(3))
    assert given == [2, 3]
    memory.clock.set(0, 1)
    memory(model, a, b)
    assert torch.equal(memory.slow.state_dict()["head.0.weight"], model.state_dict()["head.0.weight"])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"queue": 64}, TypeError, "queue: got int, want a Queue"),
        ({"momentum": 1.5}, ValueError, "momentum: got 1.5"),
        ({"momentum": "m"}, TypeError, "momentum: got str"),
    ],
)
def test_momentum_refuses_by_name(change, error, words):
    with pytest.raises(error, match=words):
        Momentum(make(), with_queue, **({"momentum": 0.9} | change))


def test_the_old_names_are_the_new_ones():
    from contrastive_nb import negatives

    assert (negatives.Queue, negatives.slow_copy, negatives.momentum_update) == (Queue, slow_copy, momentum_update)


# --- interrupts -----------------------------------------------------------------------------------------------------------------


def test_ctrl_c_waits_for_the_end_of_the_step(tmp_path):
    calls, path = [], tmp_path / "run.pt"

    def objective(*pairs):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return LOSS(*pairs)

    with pytest.raises(KeyboardInterrupt):
        fit(make(), sample, build, objective, steps=8, checkpoint=path)
    assert len(torch.load(path, weights_only=True)["losses"]) == len(calls) == 3  # the step was finished and saved
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again, whole = make(), make()
    fit(again, sample, build, LOSS, steps=8, checkpoint=path)
    fit(whole, sample, build, LOSS, steps=8)
    assert same(again, whole)


def test_a_second_interrupt_does_not_wait():
    with pytest.raises(KeyboardInterrupt), interrupts() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- arguments ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps: got 0"),
        ({"steps": 1.5}, TypeError, "steps: got float"),
        ({"lr": 0.0}, ValueError, "lr: got 0.0"),
        ({"lr": math.nan}, ValueError, "lr: got nan"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay: got -1.0"),
        ({"schedule": "linear"}, ValueError, "schedule: got 'linear', want one of 'cosine', 'constant'"),
        ({"precision": "fp8"}, ValueError, "precision: got 'fp8'"),
        ({"precision": "fp16"}, ValueError, "precision: got 'fp16' on the CPU"),
        ({"save_every": 0}, ValueError, "save_every: got 0"),
        ({"seed": -1}, ValueError, "seed: got -1"),
    ],
)
def test_wrong_arguments_are_named(wrong, error, words):
    with pytest.raises(error, match=words):
        fit(make(), sample, build, LOSS, **({"steps": 1} | wrong))


def test_wrong_functions_are_named():
    with pytest.raises(TypeError, match="sample: gave Tensor, want a tuple"):
        fit(make(), lambda g: torch.ones(2, 12), build, LOSS, steps=1)
    with pytest.raises(TypeError, match="build: gave Tensor, want a tuple"):
        fit(make(), sample, lambda m, a, b: m(a), LOSS, steps=1)
    with pytest.raises(ValueError, match=r"objective: gave \(64,\), want one number"):
        fit(make(), sample, build, partial(LOSS, reduction="none"), steps=1)
    with pytest.raises(TypeError, match="objective: gave float, want a tensor"):
        fit(make(), sample, build, lambda *p: 1.0, steps=1)
    with pytest.raises(ValueError, match="objective: the loss depends on nothing that learns"):
        fit(make(), sample, build, lambda *p: LOSS(*p).detach(), steps=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_said():
    with pytest.raises(RuntimeError, match="torch sees no GPU"):
        fit(make(), sample, build, LOSS, steps=1, device="cuda")


# --- parts ----------------------------------------------------------------------------------------------------------------------


def test_learning_rate():
    rates = [learning_rate(step, 100, 0.3) for step in range(100)]
    assert rates[0] == 0.3 and rates == sorted(rates, reverse=True) and 0 < rates[-1] < 1e-4 and math.isclose(rates[50], 0.15)
    assert {learning_rate(step, 100, 0.3, "constant") for step in range(100)} == {0.3}


def test_parameter_groups_leave_out_what_does_not_learn():
    model = make()
    model.head[0].weight.requires_grad_(False)
    many, few = parameter_groups(model, 0.1)
    assert many["weight_decay"] == 0.1 and few["weight_decay"] == 0.0
    assert all(p.dim() > 1 for p in many["params"]) and all(p.dim() == 1 for p in few["params"])
    assert len(many["params"]) + len(few["params"]) == len(list(model.parameters())) - 1


def test_differences():
    assert differences({"a": 1, "s": {"w": (1,)}}, {"a": 1, "s": {"w": (1,)}}) == []
    assert differences({"a": 1, "s": {"w": (1,)}}, {"a": 2, "s": {"w": (1,), "b": (2,)}}) == [
        "a: the checkpoint has 1, this call 2",
        "s of b: the checkpoint has None, this call (2,)",
    ]


def test_progress(capfd):
    fit(make(), sample, build, LOSS, steps=3)
    assert capfd.readouterr().err == ""
    fit(make(), sample, build, LOSS, steps=3, progress=True)
    assert "0/3" in capfd.readouterr().err.replace(" ", "")


def test_gradients_are_given_back_and_training_mode_is_on():
    model = make().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, sample, build, LOSS, steps=2)
    assert model.training and all(p.grad is None for p in model.parameters())


# --- other processes ------------------------------------------------------------------------------------------------------------

SCRIPT = textwrap.dedent("""
    import atexit, glob, hashlib, json, os, sys, time

    def threads():  # registered before the package's own, so it runs after them
        names = [open(path).read().strip() for path in glob.glob("/proc/self/task/*/comm")]
        os.write(1, (json.dumps({{"left": [name for name in names if "gloo" in name]}}) + "\\n").encode())

    atexit.register(threads)
    import torch
    sys.path.insert(0, {tests!r})
    from test_training import LOSS, build, fit, make, sample

    def slow(generator):
        time.sleep(float(sys.argv[2]))
        return sample(generator)

    model = make()
    history = fit(model, slow, build, LOSS, steps=int(sys.argv[3]), lr=0.01, checkpoint=sys.argv[1] or None, save_every=2)
    digest = hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.state_dict().values())).hexdigest()
    said = json.dumps({{"rank": int(os.environ.get("RANK", 0)), "digest": digest, "from": history.resumed_from, "losses": history.losses}})
    os.write(1, (said + "\\n").encode())  # one write: two processes share this pipe, and print sends the end of its line apart
""").format(tests=str(Path(__file__).parent))


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def lines(text, about="rank"):
    import json

    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [row for row in rows if about in row]


def test_import_needs_torch_alone():
    heavy = ("accelerate", "sklearn", "scipy", "matplotlib", "pandas")
    code = f"import sys, contrastive_nb.training, contrastive_nb.encoders; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_killed_run_is_taken_up_and_ends_in_the_same_bits(tmp_path, script):
    path = tmp_path / "run.pt"
    running = subprocess.Popen([sys.executable, script, path, "0.05", "40"])
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    (again,) = lines(subprocess.run([sys.executable, script, path, "0", "40"], capture_output=True, text=True, check=True).stdout)
    (whole,) = lines(subprocess.run([sys.executable, script, "", "0", "40"], capture_output=True, text=True, check=True).stdout)
    assert 0 < again["from"] < 40 and again["digest"] == whole["digest"] and again["losses"] == whole["losses"]


@pytest.mark.parametrize("world", ["1", "2"])
def test_one_process_of_several_loads_the_compiler_before_it_can_join_a_group(world):
    code = """if True:
        import sys, accelerate
        from contrastive_nb.devices import pick_device
        from contrastive_nb.training import accelerating

        def joins(**options):
            print("torch._dynamo" in sys.modules)
            raise KeyboardInterrupt

        pick_device("cpu")
        print("torch._dynamo" in sys.modules)
        accelerate.Accelerator = joins
        try:
            with accelerating("cpu"):
                pass
        except KeyboardInterrupt:
            pass
    """
    environment = {**os.environ, "WORLD_SIZE": world}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.split() == ["False", str(world == "2")]


def torchrun(script, path, steps, wait="0"):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, path, wait, str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_two_processes_learn_one_model(tmp_path, script):
    whole = tmp_path / "whole.pt"
    done = torchrun(script, whole, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    first = lines(done.stdout)
    assert lines(done.stdout, "left") == [{"left": []}] * 2  # a thread of the group that outlives Python aborts the process now and then
    assert {row["rank"] for row in first} == {0, 1} and len({row["digest"] for row in first}) == 1
    assert first[0]["losses"] == first[1]["losses"]
    saved = torch.load(whole, weights_only=True)
    assert saved["settings"]["processes"] == 2 and not torch.equal(*(state["generator"] for state in saved["random_state"]))


@pytest.mark.slow
def test_two_processes_that_died_are_taken_up(tmp_path, script):
    broken = tmp_path / "broken.pt"
    first = lines(torchrun(script, tmp_path / "whole.pt", 6).stdout)
    dies = "slow.calls = getattr(slow, 'calls', 0) + 1\n    if slow.calls == 6: os._exit(1)\n    return sample(generator)"
    script.write_text(SCRIPT.replace("return sample(generator)", dies))
    assert torchrun(script, broken, 6).returncode != 0
    script.write_text(SCRIPT)
    again = lines(torchrun(script, broken, 6).stdout)
    assert {row["from"] for row in again} == {4} and {row["digest"] for row in again} == {first[0]["digest"]}


@pytest.mark.slow
def test_two_processes_with_a_queue_each_are_taken_up_with_their_own(tmp_path, script):
    "What the second process remembers is in the checkpoint too: with the first one's queue it would end elsewhere."
    queued = "model = make()\nbuild = Momentum(model, with_queue, 0.9, Queue(48, 8))\n"
    names = "import torch\nfrom contrastive_nb.pairs import with_queue\nfrom contrastive_nb.training import Momentum, Queue\n"
    text = SCRIPT.replace("model = make()\n", queued).replace("import torch\n", names)
    assert text.count("Momentum") == 2
    dies = "slow.calls = getattr(slow, 'calls', 0) + 1\n    if slow.calls == 6: os._exit(1)\n    return sample(generator)"
    script.write_text(text)
    done = torchrun(script, tmp_path / "whole.pt", 6)
    assert done.returncode == 0, done.stderr[-3000:]
    script.write_text(text.replace("return sample(generator)", dies))
    assert torchrun(script, tmp_path / "broken.pt", 6).returncode != 0
    own = checkpoints.read(tmp_path / "broken.pt")["own"]
    assert own[0] == {} and own[1]["build.queue.pushed"] == 4 * 32
    script.write_text(text)
    again, first = lines(torchrun(script, tmp_path / "broken.pt", 6).stdout), lines(done.stdout)
    assert {row["from"] for row in again} == {4} and {row["digest"] for row in again} == {row["digest"] for row in first}
    assert again[0]["losses"] == first[0]["losses"]
