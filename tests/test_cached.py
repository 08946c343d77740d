"""Cached gradients against the same encoding with its graph kept: the same bits; against one pass over the batch: to rounding."""

import collections
import gc
import weakref
from functools import partial

import pytest
import torch
from torch import nn

from contrastive_nb.objectives import cacr, decoupled_nce, info_nce, mw, ranknet, supcon, triplet
from contrastive_nb.pairs import from_labels, in_batch, two_views, with_queue
from contrastive_nb.scaling import cached
from contrastive_nb.scaling.cached import _marks

N, LENGTH, WORDS, WIDTH = 20, 12, 50, 16


class Tower(nn.Module):
    "A small transformer over a dictionary of tokens, with dropout, that leaves its mark in the dictionary as some do."

    def __init__(self, dropout=0.2):
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=dropout, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens):
        there = tokens["mask"]
        tokens["hidden"] = self.layers(self.words(tokens["ids"]), src_key_padding_mask=~there)
        return (tokens["hidden"] * there[..., None]).sum(1) / there.sum(1, keepdim=True)


def made(build, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().to(dtype)


def mlp(dropout=0.3):
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4))


def texts(seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LENGTH + 1, (N, 1), generator=generator)
    return {"ids": torch.randint(0, WORDS, (N, LENGTH), generator=generator), "mask": torch.arange(LENGTH) < lengths}


def points(seed=0, rows=N, dtype=torch.float64):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def in_pieces(encoder, x, mini_batch):
    "The reference: the same mini-batches in the same order, their graphs kept. The same kernels see the same numbers: the same bits."
    cut = (
        (lambda start: {key: part[start : start + mini_batch] for key, part in x.items()})
        if isinstance(x, dict)
        else (lambda start: x[start : start + mini_batch])
    )
    return torch.cat([encoder(cut(start)) for start in range(0, N, mini_batch)])


def outcome(step, learning, seed=1):
    "Value, gradients and the random state afterwards, from a known random state."
    for p in learning:
        p.grad = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        value = step()
        value.backward()
        return [value.detach(), *(p.grad for p in learning), torch.get_rng_state()]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# --- the same bits as with the graph kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mini_batch", [1, 3, 7, N, 1000])
def test_value_gradients_and_random_numbers_are_those_of_the_kept_graph(mini_batch, dtype):
    model, tokens = made(Tower, dtype=dtype), texts()
    t = torch.tensor(0.07, dtype=dtype, requires_grad=True)
    learning = [*model.parameters(), t]
    one = lambda embed: info_nce(*two_views(embed(), embed()), temperature=t)
    kept = outcome(lambda: one(lambda: in_pieces(model, tokens, mini_batch)), learning)
    ours = outcome(lambda: one(lambda: cached(model, tokens, mini_batch=mini_batch)), learning)
    assert same(kept, ours) and kept[1].abs().sum() > 0 and kept[-2] != 0
    assert same(ours, outcome(lambda: one(lambda: cached(model, tokens, mini_batch=mini_batch)), learning))
    assert set(tokens) == {"ids", "mask"}  # what the encoder does to its dictionary stays in the mini-batch


def test_without_replay_the_gradient_would_be_another():
    model, x = made(mlp), points()
    step = lambda seed: outcome(lambda: cached(model, x, mini_batch=3).square().sum(), [*model.parameters()], seed)
    assert not torch.allclose(step(1)[1], step(2)[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_replayed_outside_and_inside_the_encoder(dtype):
    model, x = made(mlp, dtype=torch.float32), points(dtype=torch.float32)

    def inside(x):
        with torch.autocast("cpu", dtype):
            return model(x)

    def outside(embed):
        with torch.autocast("cpu", dtype):
            z = embed()
        assert z.dtype == dtype
        return info_nce(*from_labels(z, torch.arange(N) // 2), temperature=0.1)

    learning = [*model.parameters()]
    for encoder in (model, inside):
        kept = outcome(partial(outside, partial(in_pieces, encoder, x, 6)), learning)
        assert same(kept, outcome(partial(outside, partial(cached, encoder, x, mini_batch=6)), learning))


# --- one pass over the batch, any objective -----------------------------------------------------------------------------------------------

LABELS = torch.arange(N) // 4
OBJECTIVES = {
    "info_nce": lambda a, b: info_nce(*in_batch(a, b), temperature=0.05),
    "info_nce, low": lambda a, b: info_nce(*in_batch(a, b), temperature=0.005),
    "nt-xent": lambda a, b: info_nce(*two_views(a, b), temperature=0.5),
    "supcon": lambda a, b: supcon(*from_labels(torch.cat([a, b]), LABELS.repeat(2)), temperature=0.1),
    "decoupled": lambda a, b: decoupled_nce(*two_views(a, b), temperature=0.1),
    "ranknet": lambda a, b: ranknet(*in_batch(a, b), temperature=0.1),
    "mw": lambda a, b: mw(*in_batch(a, b), temperature=0.05),
    "triplet": lambda a, b: triplet(*in_batch(a, b, similarity="neg_euclidean"), margin=0.2),
    "cacr": lambda a, b: cacr(*in_batch(a, b)),
    "queue": lambda a, b: info_nce(*with_queue(a, b, torch.eye(4, dtype=a.dtype)), temperature=0.1),
    "whitening": lambda a, b: (a.T @ a / N - torch.eye(4)).square().sum() + (a - b).square().sum(),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_gets_the_gradient_of_one_pass(name):
    first, second, a, b = made(mlp, 1).eval(), made(mlp, 2).eval(), points(1), points(2)
    learning = [*first.parameters(), *second.parameters()]
    whole = outcome(lambda: OBJECTIVES[name](first(a), second(b)), learning)
    ours = outcome(lambda: OBJECTIVES[name](cached(first, a, mini_batch=7), cached(second, b, mini_batch=3)), learning)
    for x, y in zip(whole[:-1], ours[:-1], strict=True):
        assert torch.allclose(x, y, rtol=1e-12, atol=1e-12 * max(1, x.abs().max()))


def test_an_objective_with_weights_of_its_own_learns_too():
    model, head, x = made(mlp), made(lambda: nn.Bilinear(4, 4, 1)), points()
    learning = [*model.parameters(), *head.parameters()]
    loss = lambda z: head(z, z.roll(1, 0)).square().mean()
    kept = outcome(lambda: loss(in_pieces(model, x, 6)), learning)
    assert same(kept, outcome(lambda: loss(cached(model, x, mini_batch=6)), learning)) and kept[-2].abs().sum() > 0


# --- what an encoder and its inputs may be ---------------------------------------------------------------------------------------------------

Views = collections.namedtuple("Views", "left right")


@pytest.mark.parametrize("inputs, encoder", [
    ((points(1), points(2)), lambda model: lambda a, b: model(a) + model(b)),
    (([points(1), points(2)],), lambda model: lambda both: model(both[0]) + model(both[1])),
    ((Views(points(1), points(2)),), lambda model: lambda views: model(views.left) + model(views.right)),
    (({"a": points(1), "more": (points(2), None, "text", 3)},), lambda model: lambda d: model(d["a"]) + model(d["more"][0])),
    ((collections.UserDict(a=points(1), b=points(2)),), lambda model: lambda d: model(d["a"]) + model(d["b"])),
    ((points(1), points(2), torch.tensor(1.0)), lambda model: lambda a, b, factor: factor * (model(a) + model(b))),
])  # fmt: skip
def test_nested_inputs_are_cut_alike(inputs, encoder):
    model = made(mlp).eval()
    want = outcome(lambda: (model(points(1)) + model(points(2))).square().sum(), [*model.parameters()])
    ours = outcome(lambda: cached(encoder(model), *inputs, mini_batch=6).square().sum(), [*model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(want[:-1], ours[:-1], strict=True))


@pytest.mark.parametrize("wrap", [
    lambda t, x: (t,),
    lambda t, x: (tuple(t),),
    lambda t, x: ({"texts": t, "style": "plain"},),
    lambda t, x: (t, x),
    lambda t, x: ({"texts": t, "more": [x]},),
])  # fmt: skip
def test_texts_are_cut_like_tensors(wrap):
    "An encoder of texts: each mini-batch brings its own texts, as many as it has rows, in lists and tuples alike."
    sentences = [f"{'word ' * (i % 4)}number {i}" for i in range(N)]
    model, x, seen = made(mlp).eval(), points(), []

    def encode(texts, rows=None):
        if isinstance(texts, dict):
            assert texts.get("style", "plain") == "plain"
            texts, rows = texts["texts"], texts.get("more", [None])[0]
        assert rows is None or len(rows) == len(texts)
        seen.append(list(texts))
        return model(torch.tensor([[float(len(t)), *(t.count(c) for c in "wo 1")] for t in texts], dtype=torch.float64))

    want = outcome(lambda: encode(sentences).square().sum(), [*model.parameters()])
    seen.clear()
    ours = outcome(lambda: cached(encode, *wrap(sentences, x), mini_batch=6).square().sum(), [*model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(want[:-1], ours[:-1], strict=True))
    first = [sentences[i : i + 6] for i in range(0, N, 6)]
    assert seen[: len(first)] == first and sorted(seen[len(first) :]) == sorted(first)  # each once, and once more for the gradient


def test_what_becomes_of_the_list_of_texts_does_not_matter():
    model, sentences = made(mlp).eval(), [f"number {i}" for i in range(N)]
    encode = lambda texts: model(torch.tensor([[float(len(t)), *(t.count(c) for c in "nu1 ")] for t in texts], dtype=torch.float64))
    want = torch.autograd.grad(encode(sentences).square().sum(), [*model.parameters()])
    loss = cached(encode, sentences, mini_batch=6).square().sum()
    sentences[:] = ["other"] * N
    ours = torch.autograd.grad(loss, [*model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(want, ours, strict=True))


def test_methods_and_partials_are_encoders():
    model, x = made(mlp).eval(), points()
    for encoder in (model.forward, partial(model), partial(lambda m, x: m(x), model)):
        assert torch.allclose(cached(encoder, x, mini_batch=6), model(x), rtol=1e-12)


def test_inputs_get_their_gradient_strided_ones_too():
    model = made(mlp).eval()
    x = points(rows=2 * N)[::2].detach().requires_grad_()
    (ours,) = torch.autograd.grad(cached(model, x, mini_batch=6).square().sum(), x)
    (want,) = torch.autograd.grad(model(x).square().sum(), x)
    assert torch.allclose(ours, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_and_one_row(rows):
    z = cached(made(mlp), points(rows=rows), mini_batch=6)
    assert z.shape == (rows, 4) and z.requires_grad


def test_gradcheck():
    model, x = made(mlp).eval(), points(rows=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: info_nce(*in_batch(cached(model, x, mini_batch=2), x[:, :4]), temperature=0.5), x)


def test_a_model_of_the_transformers_library():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    model, tokens = made(lambda: transformers.BertModel(config, add_pooling_layer=False), dtype=torch.float32).train(), texts()
    encoder = lambda t: model(input_ids=t["ids"], attention_mask=t["mask"].long()).last_hidden_state[:, 0]
    learning = [p for p in model.parameters() if p.requires_grad]
    one = lambda embed: info_nce(*in_batch(embed(), embed()), temperature=0.05)
    kept = outcome(lambda: one(lambda: in_pieces(encoder, tokens, 6)), learning)
    assert same(kept, outcome(lambda: one(lambda: cached(encoder, tokens, mini_batch=6)), learning))


def test_a_compiled_encoder():
    model, x = made(mlp).eval(), points()
    compiled = torch.compile(model, backend="aot_eager")
    want = outcome(lambda: model(x).square().sum(), [*model.parameters()])
    ours = outcome(lambda: cached(compiled, x, mini_batch=10).square().sum(), [*model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(want[:-1], ours[:-1], strict=True))


# --- graphs, frozen parts, trainers -----------------------------------------------------------------------------------------------------------


def test_gradients_add_up_and_scale_as_usual():
    model, x = made(mlp), points()
    (weight, *_) = model.parameters()
    once = outcome(lambda: cached(model, x, mini_batch=6).square().sum(), [weight])[1].clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        (cached(model, x, mini_batch=6).square().sum() * 1024).backward()  # as a GradScaler does
    assert torch.allclose(weight.grad, 1025 * once, rtol=1e-12)


def test_backward_twice_and_through_a_gradient():
    model, x = made(mlp), points()
    (weight, *_) = model.parameters()
    loss = cached(model, x, mini_batch=6).square().sum()
    first = torch.autograd.grad(loss, weight, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, weight, create_graph=True)[0])
    model.eval()
    slope = lambda z: torch.autograd.grad(z.square().sum(), weight, create_graph=True)[0].square().sum()
    ours, want = (torch.autograd.grad(slope(z), weight)[0] for z in (cached(model, x, mini_batch=6), model(x)))
    assert torch.allclose(ours, want, rtol=1e-12)


def test_frozen_parts_stay_without_gradient():
    model, x = made(mlp), points()
    model[0].requires_grad_(False)
    kept = outcome(lambda: in_pieces(model, x, 6).square().sum(), [*model[3].parameters()])
    assert same(kept, outcome(lambda: cached(model, x, mini_batch=6).square().sum(), [*model[3].parameters()]))
    assert model[0].weight.grad is None
    model.requires_grad_(False)
    assert not cached(model, x, mini_batch=6).requires_grad
    model.requires_grad_()
    with torch.no_grad():
        assert not cached(model.eval(), x, mini_batch=6).requires_grad


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_trainer_ends_in_the_same_weights(precision):
    from contrastive_nb.training import fit

    def trained(embed):
        model = made(mlp, dtype=torch.float32)
        sample = lambda generator: (torch.randn(N, 5, generator=generator), torch.randn(N, 5, generator=generator))
        build = lambda model, a, b: in_batch(embed(model, a), embed(model, b))
        history = fit(model, sample, build, partial(info_nce, temperature=0.1), steps=4, precision=precision)
        return [torch.tensor(history.losses), *(p.detach() for p in model.parameters())]

    assert same(trained(lambda model, x: in_pieces(model, x, 6)), trained(lambda model, x: cached(model, x, mini_batch=6)))


def _in_a_group(rank, folder):
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    loss = lambda z: (z @ z.T).logsumexp(1).mean()
    model, alone = made(mlp).eval(), made(mlp).eval()
    (sum(loss(alone(points(r))) for r in range(2)) / 2).backward()
    parallel = DistributedDataParallel(model)
    for _ in range(2):
        model.zero_grad()
        loss(cached(parallel, points(rank), mini_batch=6)).backward()
    assert all(torch.allclose(p.grad, q.grad, rtol=1e-12, atol=1e-14) for p, q in zip(model.parameters(), alone.parameters(), strict=True))
    del parallel  # it holds on to the group; and nobody leaves while the other still sums, or its threads abort the process as it ends
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_with_distributed_data_parallel(tmp_path):
    torch.multiprocessing.spawn(_in_a_group, (str(tmp_path),), nprocs=2)


# --- memory ----------------------------------------------------------------------------------------------------------------------------------


def test_one_mini_batch_is_alive_at_a_time():
    alive, most = weakref.WeakSet(), []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.outside = nn.Linear(5, 64), nn.Linear(64, 4)

        def forward(self, x):
            h = torch.exp(self.inside(x))  # its result is what its backward pass needs
            alive.add(h)
            most.append(len(alive))
            return self.outside(h)

    model, x = made(Watched), points()
    loss = info_nce(*two_views(cached(model, x, mini_batch=4), cached(model, x, mini_batch=4)), temperature=0.5)
    del_count = len(most)
    gc.collect()
    assert not len(alive) and max(most) == 1
    loss.backward()
    assert len(most) == 2 * del_count and max(most) <= 2  # the next one may begin before the last reference to the one before goes
    most.clear()
    in_pieces(model, x, 4).sum().backward()
    gc.collect()
    assert len(most) == 5


@pytest.mark.slow
def test_a_step_takes_the_memory_of_a_mini_batch():
    from contrastive_nb.timing.measure import peak

    setup = """
import torch
from torch import nn
from contrastive_nb.scaling import cached
model = nn.Sequential(nn.Linear(256, 256), *(nn.Sequential(nn.Linear(256, 256), nn.GELU()) for _ in range(16)))
x = torch.randn(8192, 256)
"""
    step = "z = cached(model, x, mini_batch=size) if size else model(x)\nz.square().mean().backward()"
    whole, ours = (
        peak(setup, step, warm=step.replace("x)", "x[:2])").replace("(model, x", "(model, x[:2]"), size=size).bytes for size in (0, 256)
    )
    assert whole > 200e6 and ours < whole / 4, (whole, ours)


# --- what would make the second encoding another ----------------------------------------------------------------------------------------------


def normed():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("build, name", [(normed, "1"), (lambda: nn.BatchNorm1d(5, track_running_stats=False), "it")])
def test_batch_norm_in_training_is_refused(build, name):
    model = made(build)
    for encoder in (model, lambda x: model(x), model.forward, partial(model)):
        with pytest.raises(ValueError, match=f"encoder: {name} is a BatchNorm1d in training"):
            cached(encoder, points(), mini_batch=10)
    assert cached(model.eval(), points(), mini_batch=10).shape[0] == N


@pytest.mark.parametrize("momentum", [0.1, None])
def test_mini_batch_statistics_are_counted_once(momentum):
    ours, kept = made(normed), made(normed)
    ours[1].momentum = kept[1].momentum = momentum
    a = outcome(lambda: in_pieces(kept, points(), 10).pow(3).sum(), [*kept.parameters()])
    b = outcome(lambda: cached(ours, points(), mini_batch=10, mini_batch_statistics=True).pow(3).sum(), [*ours.parameters()])
    assert same(a, b) and same([*kept.buffers()], [*ours.buffers()]) and ours[1].num_batches_tracked == 2
    assert ours[1].momentum == momentum and a[1].abs().sum() > 0


def test_a_buffer_that_the_encoder_changes_is_refused():
    model = made(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4)))
    with pytest.raises(RuntimeError, match="_u changed while it encoded"):
        cached(model, points(), mini_batch=10)


def _move(model, x):
    with torch.no_grad():
        model[3].bias.add_(1)


@pytest.mark.parametrize("change, what", [
    (_move, "3.bias changed"),
    (lambda model, x: torch.optim.SGD(model.parameters(), lr=0.1).step(), "0.weight changed"),
    (lambda model, x: model.eval(), "its mode"),
    (lambda model, x: x.mul_(2), "an input changed"),
])  # fmt: skip
def test_changes_before_the_backward_pass_are_refused(change, what):
    model, x = made(mlp), points()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    loss = cached(model, x, mini_batch=6).sum()
    change(model, x)
    with pytest.raises(RuntimeError, match=what):
        loss.backward()


class Far(torch.Tensor):
    "A tensor that says it lies on a device that is not here."

    device = torch.device("mps")


def test_random_numbers_that_cannot_be_replayed_are_refused():
    far, model = torch.ones(2, 5).as_subclass(Far), nn.ModuleList([mlp()])
    for modules in (model, nn.ModuleList()):
        with pytest.raises(ValueError, match="mps"):
            _marks(modules, (far,))
    assert [mark.device.type for mark in _marks(model.eval(), (far,))] == ["cpu"]


# --- errors ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder, inputs, options, error, message", [
    (mlp(), (points(),), dict(mini_batch=0), ValueError, "mini_batch: got 0"),
    (mlp(), (points(),), dict(mini_batch=-3), ValueError, "mini_batch: got -3"),
    (mlp(), (points(),), dict(mini_batch=2.0), TypeError, "mini_batch: got float"),
    (mlp(), (points(),), dict(mini_batch=True), TypeError, "mini_batch: got bool"),
    (3, (points(),), {}, TypeError, "encoder: got int"),
    (mlp(), (), {}, TypeError, "inputs: got none"),
    (mlp(), ([1, 2],), {}, TypeError, "inputs: got list, want a tensor with a row an item, a list of texts"),
    (mlp(), ("a text",), {}, TypeError, "inputs: got str"),
    (mlp(), (points(), ["a", "b"]), {}, ValueError, "inputs: got 2 and 20 rows"),
    (mlp(), ({"texts": ["a", "b"], "more": ["c"]},), {}, ValueError, "inputs: got 1 and 2 rows"),
    (mlp(), (torch.tensor(1.0),), {}, TypeError, "inputs: got Tensor"),
    (mlp(), (points(), points(rows=3)), {}, ValueError, "inputs: got 3 and 20 rows"),
    (mlp(), ({"a": points(), "b": (points(rows=4),)},), {}, ValueError, "inputs: got 4 and 20 rows"),
    (lambda x: x.sum(1), (points(),), {}, ValueError, r"encoder: gave shape \(20,\)"),
    (lambda x: x.sum(), (points(),), {}, ValueError, r"encoder: gave shape \(\)"),
    (lambda x: x[:-1], (points(),), {}, ValueError, r"encoder: gave shape \(19, 5\) for a mini-batch of 20"),
    (lambda x: (x, x), (points(),), {}, TypeError, "encoder: gave tuple"),
    (lambda x: {"z": x}, (points(),), {}, TypeError, "encoder: gave dict"),
    (lambda x: x.long(), (points(),), {}, TypeError, "encoder: gave torch.int64"),
])  # fmt: skip
def test_errors_name_the_argument(encoder, inputs, options, error, message):
    with pytest.raises(error, match=message):
        cached(encoder, *inputs, **options)


def test_an_error_in_the_encoder_comes_through_and_leaves_the_random_state():
    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        cached(broken, points())
