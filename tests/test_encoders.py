"""Encoders, views and features: shapes, exact moves, reproducible draws, named errors, and the cost of a step."""

import math
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from contrastive_nb.encoders import (
    Encoder,
    LogitScale,
    Prototypes,
    augment,
    conv_encoder,
    embed,
    erased,
    heads,
    mlp_encoder,
    pair_scorer,
    predictor,
    projector,
    seeded,
    warp,
)  # fmt: skip

OFF = dict(rotate=0.0, scale=0.0, shift=0.0, gain=0.0, noise=0.0, erase=0)
IMAGES = torch.rand(6, 2, 8, 10, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def column(value, count=None):
    return torch.full((count or len(IMAGES),), float(value))


# --- networks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 8, 4), (1, 1, 1), (1, 28, 28), (3, 32, 32), (3, 33, 17), (2, 96, 64)])
@pytest.mark.parametrize(("dim", "width"), [(64, 16), (5, 3)])
def test_conv_encoder_takes_any_shape(shape, dim, width):
    net = conv_encoder(shape, dim, width)
    h = net(torch.rand(4, *shape))
    assert h.shape == (4, dim) and h.min() >= 0
    h.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert net.eval()(torch.rand(1, *shape)).shape == (1, dim)


def test_conv_encoder_has_a_stage_more_for_each_doubling():
    depth = {side: sum(isinstance(part, nn.Conv2d) for part in conv_encoder((1, side, side))) for side in (8, 32, 33, 64, 65, 128)}
    assert depth == {8: 3, 32: 3, 33: 4, 64: 4, 65: 5, 128: 5}


def test_mlp_encoder_reads_rows_and_images():
    net = mlp_encoder(64, dim=7, hidden=11).eval()
    x = torch.rand(3, 1, 8, 8)
    assert net(x).shape == (3, 7) and torch.equal(net(x), net(x.flatten(1)))


def test_projector_centres_and_scales_every_column():
    z = projector(5, hidden=6, out=4)(torch.randn(50, 5, generator=generator()).double().float()).detach()
    assert z.shape == (50, 4)
    assert torch.allclose(z.mean(0), torch.zeros(4), atol=1e-5) and torch.allclose(z.var(0, correction=0), torch.ones(4), atol=2e-3)
    assert not list(projector(5)[-1].parameters())
    assert [name for name, _ in projector(5).named_parameters()] == [
        "0.weight",
        "1.weight",
        "1.bias",
        "3.weight",
    ]  # a norm takes a bias off again


@pytest.mark.parametrize("seed", range(5))
def test_the_last_batchnorm_opens_the_cone(seed):
    x = torch.rand(200, 1, 8, 8, generator=generator(seed))
    backbone, head = seeded(seed, lambda: nn.ModuleList([conv_encoder((1, 8, 8)), projector(64)]))
    cosine = {}
    for name, layers in {"with": head, "without": head[:-1]}.items():
        z = F.normalize(layers(backbone(x)).detach(), dim=1)
        cosine[name] = ((z @ z.T).sum().item() - 200) / (200 * 199)
    assert abs(cosine["with"]) < 0.02 < 0.1 < cosine["without"]


def test_encoder_ties_backbone_and_head():
    model = Encoder(mlp_encoder(4, 3), nn.Linear(3, 2)).eval()
    x = torch.rand(5, 4)
    assert torch.equal(model.features(x), model.backbone(x)) and torch.equal(model(x), model.head(model.backbone(x)))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: conv_encoder((1, 8, 0)), ValueError, r"shape\[2\]: got 0"),
        (lambda: conv_encoder((1, 8.0, 8)), TypeError, r"shape\[1\]: got float"),
        (lambda: conv_encoder((8, 8)), ValueError, r"shape: got \(8, 8\), want \(C, H, W\)"),
        (lambda: conv_encoder((1, 8, 8), dim=0), ValueError, "dim: got 0"),
        (lambda: conv_encoder((1, 8, 8), width=True), TypeError, "width: got bool"),
        (lambda: mlp_encoder(0), ValueError, "features: got 0"),
        (lambda: mlp_encoder(3, hidden=-1), ValueError, "hidden: got -1"),
        (lambda: projector(3, out=0), ValueError, "out: got 0"),
        (lambda: seeded(-1, lambda: nn.Linear(1, 1)), ValueError, "seed: got -1"),
        (lambda: embed(nn.Identity(), torch.ones(2, 2), batch=0), ValueError, "batch: got 0"),
    ],
)
def test_wrong_sizes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_seeded_repeats_and_leaves_torchs_generator_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, two, other = (seeded(seed, lambda: nn.Linear(3, 3)) for seed in (4, 4, 5))
    assert torch.equal(one.weight, two.weight) and not torch.equal(one.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ZeroDivisionError):
        seeded(0, lambda: 1 / 0)
    assert torch.equal(torch.get_rng_state(), before)


# --- features -------------------------------------------------------------------------------------------------------------------


def test_embed_is_in_evaluation_mode_and_gives_every_mode_back():
    model = Encoder(nn.Sequential(mlp_encoder(20), nn.Dropout(0.5)), projector(64))
    model.head.eval()
    x = torch.rand(33, 20)
    averages = model.backbone[0][2].running_mean.clone()
    h = embed(model, x, batch=7)
    assert h.shape == (33, 64) and h.dtype == torch.float32 and not h.requires_grad
    assert torch.equal(h, embed(model, x, batch=7)) and torch.equal(model.backbone[0][2].running_mean, averages)
    assert model.training and model.backbone[1].training and not model.head.training and not model.head[1].training
    assert torch.allclose(h, model.eval().features(x), atol=1e-6)
    with pytest.raises(RuntimeError):
        embed(model.train(), torch.rand(3, 19))
    assert model.training


def test_embed_takes_any_module():
    x = torch.rand(5, 3)
    assert torch.equal(embed(nn.Identity(), x), x)
    assert embed(nn.Linear(3, 2), x.double().float()).shape == (5, 2)
    assert embed(nn.Linear(3, 2).bfloat16(), x.bfloat16()).dtype == torch.float32


# --- views ----------------------------------------------------------------------------------------------------------------------


def test_warp_knows_exact_moves():
    one, zero = column(1), column(0)
    square = IMAGES[..., :8]
    assert torch.allclose(warp(IMAGES, zero, one, zero, zero), IMAGES, atol=1e-5)
    assert torch.allclose(warp(square, 90 * one, one, zero, zero), square.rot90(1, (2, 3)), atol=1e-5)
    assert torch.allclose(warp(IMAGES, 180 * one, one, zero, zero), IMAGES.rot90(2, (2, 3)), atol=1e-5)
    assert torch.allclose(warp(IMAGES, zero, one, zero + 2 / 10, zero)[..., 2:], IMAGES[..., :-2], atol=1e-5)
    assert torch.allclose(warp(IMAGES, zero, one, zero, zero - 1 / 8)[:, :, :-1], IMAGES[:, :, 1:], atol=1e-5)
    assert warp(IMAGES, zero, one, zero + 1, zero).abs().max() < 1e-5  # shifted out: nothing comes in


def test_warp_does_not_shear_oblong_images():
    tall = torch.zeros(1, 1, 40, 20)
    tall[..., 19:21, 5:15] = 1  # a bar, 10 long and 2 thick, lying
    turned = warp(tall, column(90, 1), column(1, 1), column(0, 1), column(0, 1))
    standing = torch.zeros_like(tall)
    standing[..., 15:25, 9:11] = 1
    assert torch.allclose(turned, standing, atol=1e-4)


def test_zoom_enlarges():
    dot = torch.zeros(1, 1, 16, 16)
    dot[..., 6:10, 6:10] = 1
    mass = [warp(dot, column(0, 1), column(zoom, 1), column(0, 1), column(0, 1)).sum().item() for zoom in (0.5, 1, 2)]
    assert mass[0] < mass[1] < mass[2] and math.isclose(mass[2], 64, rel_tol=0.1)


@pytest.mark.parametrize("side", [1, 3, 8])
def test_erased_square_lies_inside_and_reaches_every_place(side):
    count = 4000
    holes = erased(torch.ones(count, 2, 8, 10), *torch.rand(2, count, generator=generator()), side) == 0
    assert (holes.sum((2, 3)) == side * side).all() and torch.equal(holes[:, 0], holes[:, 1])
    assert holes.any(0).all()
    assert len({tuple(hole.nonzero()[0].tolist()) for hole in holes[:, 0]}) == (8 - side + 1) * (10 - side + 1)


def test_an_erased_square_is_as_large_as_the_shorter_side_at_most():
    image, at = torch.ones(1, 1, 4, 6), torch.zeros(1)
    assert erased(image, at, at, 4).sum() == 8
    with pytest.raises(ValueError, match="side: got 5, want a whole number from 0 to 4"):
        erased(image, at, at, 5)


def test_every_strength_at_zero_gives_the_image_back_exactly():
    assert torch.equal(augment(IMAGES, generator(), **OFF), IMAGES)


@pytest.mark.parametrize("name", ["rotate", "scale", "shift", "gain", "noise", "erase"])
def test_each_strength_acts_and_leaves_the_other_draws_alone(name):
    only = OFF | {name: {"rotate": 20.0, "scale": 0.2, "shift": 0.125, "gain": 0.3, "noise": 0.08, "erase": 3}[name]}
    assert not torch.equal(augment(IMAGES, generator(), **only), IMAGES)
    if name in ("noise", "erase"):
        keep = dict(erase=0) if name == "noise" else dict(noise=0.0)
        off = keep | {name: OFF[name]}
        rest = augment(IMAGES, generator(), **off)
        with_it = augment(IMAGES, generator(), **keep)
        if name == "erase":
            assert torch.equal(with_it[with_it != 0], rest[with_it != 0])
        else:
            assert abs((with_it - rest).std().item() - 0.08) < 0.01


def test_strengths_have_their_units():
    many = torch.ones(4000, 1, 8, 8)
    gains = augment(many, generator(), **(OFF | {"gain": 0.3}))[:, 0, 0, 0]
    assert 0.7 <= gains.min() < 0.71 and 1.29 < gains.max() <= 1.3 and abs(gains.mean() - 1) < 0.01
    noise = augment(many, generator(), **(OFF | {"noise": 0.08})) - 1
    assert abs(noise.std() - 0.08) < 0.001 and abs(noise.mean()) < 0.001
    dot = torch.zeros(4000, 1, 33, 33)
    dot[:, :, 16, 16] = 1
    place = torch.arange(33.0)
    moved = augment(dot, generator(), **(OFF | {"shift": 0.25}))
    columns = (moved.sum((1, 2)) * place).sum(1) / moved.sum((1, 2, 3)) - 16
    assert columns.min() >= -8.3 and columns.max() <= 8.3 and columns.std() > 4
    far = torch.zeros(4000, 1, 33, 33)
    far[:, :, 16, 28] = 1
    turned = augment(far, generator(), **(OFF | {"rotate": 20.0}))
    rows = (turned.sum((1, 3)) * place).sum(1) / turned.sum((1, 2, 3)) - 16
    angles = torch.rad2deg(torch.asin((rows / 12).clamp(-1, 1)))
    assert 18 < angles.abs().max() < 22 and abs(angles.mean()) < 1


def test_flip_mirrors_half_of_the_images_exactly():
    many = IMAGES.repeat(500, 1, 1, 1)
    out = augment(many, generator(), **OFF, flip=True)
    mirrored, kept = ((out == x).flatten(1).all(1) for x in (many.flip(3), many))
    assert (mirrored | kept).all() and 0.45 < mirrored.float().mean() < 0.55


def test_the_sixth_draw_below_a_half_flips():
    "Which images are flipped is a part of what a seed means."
    many = IMAGES.repeat(5, 1, 1, 1)
    low = torch.rand(len(many), 8, generator=generator())[:, 5] < 0.5
    assert low.any() and not low.all()
    assert torch.equal(augment(many, generator(), **OFF, flip=True), torch.where(low[:, None, None, None], many.flip(3), many))


def test_the_generator_decides_everything():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = augment(IMAGES, generator(3)), augment(IMAGES, generator(3))
    running = generator(3)
    first, second = augment(IMAGES, running), augment(IMAGES, running)
    assert torch.equal(one, two) and torch.equal(one, first) and not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_views_keep_the_dtype(dtype):
    strengths = dict(noise=0.0, erase=0)  # the noise is drawn in the images' own dtype
    out = augment(IMAGES.to(dtype), generator(), **strengths)
    assert out.dtype == dtype
    assert torch.allclose(out.float(), augment(IMAGES, generator(), **strengths), atol=1e-6 if dtype == torch.float64 else 0.02)
    assert augment(IMAGES.to(dtype), generator()).dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_views_on_a_gpu_are_driven_by_a_generator_of_the_cpu():
    one, two = augment(IMAGES.cuda(), generator()), augment(IMAGES.cuda(), generator())
    assert one.is_cuda and torch.equal(one, two)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rotate": -1.0}, ValueError, "rotate: got -1.0"),
        ({"rotate": 200}, ValueError, "rotate: got 200"),
        ({"scale": 1.0}, ValueError, r"scale: got 1.0, want a number in \[0, 1\)"),
        ({"shift": "far"}, TypeError, "shift: got str"),
        ({"gain": math.nan}, ValueError, "gain: got nan"),
        ({"noise": -0.1}, ValueError, "noise: got -0.1"),
        ({"erase": 2.5}, TypeError, "erase: got float"),
        ({"erase": 9}, ValueError, "erase: got 9 pixels, want at most 8"),
    ],
)
def test_wrong_strengths_are_named(change, error, words):
    with pytest.raises(error, match=words):
        augment(IMAGES, generator(), **change)


def test_wrong_images_and_generators_are_named():
    with pytest.raises(ValueError, match=r"x: got shape \(2, 8, 10\), want 4 dimensions"):
        augment(IMAGES[0], generator())
    with pytest.raises(TypeError, match="x: got dtype torch.uint8"):
        augment(IMAGES.byte(), generator())
    with pytest.raises(TypeError, match="generator: got int, want a torch.Generator"):
        augment(IMAGES, 0)


# --- cost -----------------------------------------------------------------------------------------------------------------------


def test_a_step_on_real_images_is_cheap():
    "Alone on a core it takes 35 ms; the bound leaves room for a busy machine and still finds a first stage at full size (110 ms)."
    net, x = seeded(0, lambda: conv_encoder((1, 28, 28))), torch.rand(512, 1, 28, 28)
    seconds = []
    for _ in range(8):
        begun = time.process_time()
        net(x).sum().backward()
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.1


# --- parts behind the features ------------------------------------------------------------------------------------------------------


def test_heads_have_weights_of_their_own_and_learn():
    both = seeded(0, lambda: heads(3, lambda: nn.Linear(4, 2)))
    outs = both(torch.rand(5, 4, generator=generator()))
    assert len(outs) == 3 and not torch.equal(outs[0], outs[1])
    outs[1].sum().backward()
    assert [part.weight.grad is None for part in both] == [True, False, True]
    with pytest.raises(TypeError, match="build: got Linear|build: got int"):
        heads(2, 3)
    with pytest.raises(ValueError, match="n: got 0"):
        heads(0, lambda: nn.Linear(4, 2))


def test_prototypes_give_cosines_and_come_back_to_the_sphere():
    module = seeded(0, lambda: Prototypes(7, 4))
    z = torch.randn(5, 4, generator=generator(), dtype=torch.float64)
    want = torch.stack([torch.stack([F.cosine_similarity(a, c, dim=0) for c in module.weight.double()]) for a in z])
    torch.testing.assert_close(module(z), want, rtol=0, atol=1e-7)
    optimizer = torch.optim.SGD(module.parameters(), lr=5.0)
    module(z.float()).square().sum().backward()
    optimizer.step()
    moved = module.weight.detach().clone()
    assert (moved.norm(dim=1) - 1).abs().max() > 0.1
    module.normalise()
    torch.testing.assert_close(module.weight, F.normalize(moved, dim=1))
    assert module.weight.requires_grad and module(z.half()).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(z.float()).dtype == torch.float32
    with pytest.raises(ValueError, match="z: got 3 features, want 4"):
        module(z[:, 1:])
    with pytest.raises(ValueError, match="count: got 0"):
        Prototypes(0, 4)


def test_a_pair_scorer_is_a_small_network_on_both_and_their_product():
    score = seeded(0, lambda: pair_scorer(4, hidden=6)).double()
    query, key = (
        torch.randn(3, 4, generator=generator(), dtype=torch.float64),
        torch.randn(5, 4, generator=generator(1), dtype=torch.float64),
    )
    got = score(query, key)
    for q, d in ((0, 0), (2, 4), (1, 3)):
        by_hand = score.net(torch.cat([query[q], key[d], query[q] * key[d]]))
        torch.testing.assert_close(got[q, d], by_hand[0])
    own = key[torch.tensor([[0, 1], [2, 3], [4, 0]])]
    torch.testing.assert_close(score(query, own), got.gather(1, torch.tensor([[0, 1], [2, 3], [4, 0]])))
    for wrong, words in (
        ((query[:, 1:], key), "query: got 3 features, want 4"),
        ((query, key[:, 1:]), "key: got 3"),
        ((query, own[:2]), "key: got 2 rows, want 3"),
    ):
        with pytest.raises(ValueError, match=words):
            score(*wrong)


def test_a_predictor_ends_in_a_plain_layer():
    net = predictor(4, hidden=8)
    assert isinstance(net[-1], nn.Linear) and net[-1].bias is not None and net(torch.rand(6, 4)).shape == (6, 4)
    assert predictor(4, out=3)(torch.rand(6, 4)).shape == (6, 3)


def test_a_learned_temperature_learns_and_stays_in_its_range():
    from contrastive_nb.objectives import info_nce
    from contrastive_nb.pairs import in_batch

    learned = LogitScale(0.5, lowest=0.05, highest=2.0).double()
    pairs = in_batch(torch.eye(4).double(), torch.eye(4).double())  # all right: the colder the better
    optimizer = torch.optim.SGD(learned.parameters(), lr=2.0)
    seen = []
    for _ in range(60):
        temperature = learned()
        seen.append(temperature.item())
        optimizer.zero_grad()
        info_nce(*pairs, temperature=temperature).backward()
        optimizer.step()
    assert seen[0] == pytest.approx(0.5) and all(a >= b for a, b in zip(seen, seen[1:], strict=False))
    with torch.no_grad():
        for far, end in ((50.0, 0.05), (-50.0, 2.0)):
            learned.log_scale.fill_(far)
            assert learned().item() == pytest.approx(end)
    value = learned() * 1.0
    value.backward()
    assert learned.log_scale.grad is not None and learned.log_scale.grad != 0  # at the end of its range it can come back
    assert list(LogitScale().state_dict()) == ["log_scale"] and LogitScale()().item() == pytest.approx(0.07)
    for options, words in (
        ({"temperature": 0.001}, r"temperature: got 0.001, want a number in \[0.01, 1\]"),
        ({"lowest": 0}, "lowest: got 0"),
        ({"lowest": 2.0}, "highest: got 1"),
    ):
        with pytest.raises(ValueError, match=words):
            LogitScale(**options)
