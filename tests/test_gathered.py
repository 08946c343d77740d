"""Several processes: one launch of two walks every objective and both rings, and each test reads what it found."""

import json
import math
import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from contrastive_nb.kernels import tabulated
from contrastive_nb.objectives import info_nce, mw
from contrastive_nb.pairs import exclude, from_labels, in_batch, two_views
from contrastive_nb.registry import get, methods
from contrastive_nb.scaling import gather_with_grad, gathered, own_rows, ring_info_nce, ring_mw

ROWS, WORLD = 24, 2
LABELS = torch.arange(ROWS) % 5
POOLED = {m.name for m in methods("pairs") if "pooled" in m.promises}
BUILT = ("two_views", "in_batch", "from_labels")
T, F64 = 0.2, torch.float64


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


class Tower(nn.Module):
    "Two layers, and a temperature that is learned behind the gather."

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Parameter(numbers(*shape, seed=seed) / 3) for shape, seed in (((10, 8), 1), ((8, 6), 2)))
        self.cold = nn.Parameter(torch.tensor(math.log(T), dtype=F64))

    def forward(self, x):
        return torch.tanh(x @ self.first) @ self.second, self.cold.exp()


def views(rows=slice(None)):
    a = numbers(ROWS, 10, seed=3)
    return a[rows], (a + numbers(ROWS, 10, seed=4) / 2)[rows]


def call(name, pairs, t):
    method = get(name)
    return method(*pairs, **({"temperature": t} if method.temperature else {}))


def embedded(model, rows):
    first, second = views(rows)
    z, t = model(torch.cat([first, second]))
    return *z.chunk(2), t


def same_loss(name, built, gather, model, rows):
    "Every rank computes everything."
    a, b, t = embedded(model, rows)
    if built == "from_labels":
        pairs = from_labels(gather(a), gather(LABELS[rows]))
    else:
        pairs = {"two_views": two_views, "in_batch": in_batch}[built](gather(a), gather(b))
    return call(name, pairs, t)


def own_loss(name, gather, model, rows):
    "A rank's queries against everyone's keys."
    a, b, t = embedded(model, rows)
    return call(name, in_batch(a, gather(b), target=own_rows(a)), t)


def ring_loss(ring, nt_xent, chunk, kind, model, rows):
    a, b, t = embedded(model, rows)
    a, b = a.to(kind), b.to(kind)
    if not nt_xent:
        return ring(a, b, temperature=t, chunk=chunk).to(F64)
    z = torch.cat([a, b])
    return ring(z, z, temperature=t, target=torch.arange(len(z)).roll(len(a)), exclude_self=True, chunk=chunk).to(F64)


def dense_loss(objective, nt_xent, model, rows=slice(None)):
    a, b, t = embedded(model, rows)
    return objective(*(two_views if nt_xent else in_batch)(a, b), temperature=t)


RINGS = {
    f"{ring.__name__}, {'nt_xent' if nt else 'in_batch'}, chunk {chunk}": (ring, dense, nt, chunk)
    for ring, dense in ((ring_info_nce, info_nce), (ring_mw, mw))
    for nt in (False, True)
    for chunk in (None, 1, 7)
}


def slopes(loss, model):
    "The loss and the gradients of a model's parameters, in one vector."
    model.zero_grad()
    value = loss(model)
    value.backward()
    parameters = getattr(model, "module", model).parameters()
    return torch.cat([value.detach().reshape(1), *((torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters)])


WHOLE = slice(None)


def one_process(loss):
    return slopes(lambda model: loss(model, WHOLE), Tower())


# --- what the two processes do --------------------------------------------------------------------------------------------------


def own_slice(x):
    import torch.distributed as dist

    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.detach())
    parts[dist.get_rank()] = x
    return torch.cat(parts)


def on_a_rank():
    "Everything that needs two processes: name -> the averaged loss and gradient, or what was seen."
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from contrastive_nb.scaling import gathered

    rank = dist.get_rank()
    rows = slice(rank * ROWS // WORLD, (rank + 1) * ROWS // WORLD)
    found = {}

    def average(loss):
        vector = slopes(lambda model: loss(model, rows), Tower())
        dist.all_reduce(vector)
        return (vector / WORLD).tolist()

    for name in (m.name for m in methods("pairs")):
        for built in BUILT:
            found[f"same, {built}, {name}"] = average(partial(same_loss, name, built, gather_with_grad))
        found[f"own, {name}"] = average(partial(own_loss, name, gather_with_grad))
    found["plain, own"] = average(partial(own_loss, "info_nce", own_slice))
    found["plain, same"] = average(partial(same_loss, "info_nce", "in_batch", own_slice))
    found["plain, same, times W"] = average(lambda *given: WORLD * same_loss("info_nce", "in_batch", own_slice, *given))
    for name, (ring, _, nt_xent, chunk) in RINGS.items():
        found[name] = average(partial(ring_loss, ring, nt_xent, chunk, F64))
        found[f"{name}, float32"] = average(partial(ring_loss, ring, nt_xent, chunk, torch.float32))
    whole, gathered._summed = gathered._summed, lambda x, group: scattered(x, group)
    found["reduce_scatter"] = average(partial(own_loss, "info_nce", gather_with_grad))
    gathered._summed = whole

    def wrapped(model, loss):  # the trainer averages
        vector = slopes(lambda model: loss(model, rows), model)
        dist.all_reduce(vector[:1])
        return [vector[0].item() / WORLD, *vector[1:].tolist()]

    for name in ("info_nce", "mw"):
        found[f"DistributedDataParallel, {name}"] = wrapped(
            DistributedDataParallel(Tower()), partial(same_loss, name, "two_views", gather_with_grad)
        )
    found["DistributedDataParallel, ring"] = wrapped(DistributedDataParallel(Tower()), partial(ring_loss, ring_info_nce, True, 7, F64))
    from accelerate import Accelerator

    model = Accelerator(cpu=True).prepare(Tower())
    assert isinstance(model, DistributedDataParallel)
    found["accelerate, own"] = wrapped(model, partial(own_loss, "info_nce", gather_with_grad))
    found |= odds_and_ends(rank, rows)
    return found


def scattered(x, group):
    "The branch of NCCL, which gloo can take too."
    import torch.distributed as dist

    parts = x.unflatten(0, (WORLD, -1)).contiguous()
    own = torch.empty_like(parts[0])
    dist.reduce_scatter(own, list(parts.unbind()), group=group)
    return own


def odds_and_ends(rank, rows):
    import torch.distributed as dist

    def complaint(function, *arguments, **keywords):
        try:
            function(*arguments, **keywords)
        except (TypeError, ValueError) as error:
            return str(error)

    a, b = (x.requires_grad_() for x in views(rows))
    labels = gather_with_grad(LABELS[rows])
    slanted = gather_with_grad(numbers(4, 3, seed=rank).T)
    alone = [dist.new_group([r]) for r in range(WORLD)]
    curved = torch.autograd.grad(gather_with_grad(a).pow(3).sum(), a, create_graph=True)[0]
    second = torch.autograd.grad(curved.sum(), a)[0]
    by_func = torch.func.grad(lambda x: info_nce(*in_batch(x, gather_with_grad(b.detach()), target=own_rows(x)), temperature=T))(a.detach())
    plain = torch.autograd.grad(info_nce(*in_batch(a, gather_with_grad(b).detach(), target=own_rows(a)), temperature=T), a)[0]
    weighed = ring_info_nce(a, b, temperature=T, reduction="none") @ torch.arange(1.0, len(a) + 1, dtype=F64).mul(1 + rank)
    half = gather_with_grad(a.bfloat16())
    return {
        "uneven": [complaint(gather_with_grad, torch.zeros(3, 2 + rank)), complaint(gather_with_grad, torch.zeros(3 + rank, 2))],
        "gradient or none": complaint(gather_with_grad, torch.zeros(3, requires_grad=rank == 0)),
        "dtypes": complaint(gather_with_grad, torch.zeros(3, dtype=F64 if rank else torch.float32)),
        "ring uneven": complaint(ring_info_nce, a, b[: len(b) - rank], temperature=T, target=torch.zeros(len(a), dtype=torch.long)),
        "outsider": complaint(gather_with_grad, a, alone[1 - rank]),
        "subgroup": gather_with_grad(a, alone[rank]) is a and own_rows(a, alone[rank]).tolist() == list(range(len(a))),
        "labels": torch.equal(labels, LABELS) and not labels.requires_grad,
        "slanted": torch.equal(slanted[3:], numbers(4, 3, seed=1).T),
        "second": torch.allclose(second, 6 * WORLD * WORLD * a / WORLD, rtol=1e-13) or (second / a).flatten()[0].item(),
        "func": torch.allclose(by_func, plain, rtol=1e-12),
        "weighed": [g.tolist() for g in torch.autograd.grad(weighed, [a, b])],
        "half": half.dtype == torch.bfloat16 and torch.equal(half[rows], a.bfloat16()),
        "no grad": ring_info_nce(a.detach(), b.detach(), temperature=T).requires_grad,
        "twice": all(torch.equal(ring_info_nce(a, b, temperature=T), ring_info_nce(a, b, temperature=T)) for _ in range(3)),
    }


SCRIPT = textwrap.dedent("""
    import glob, json, os, sys
    import torch
    import torch._dynamo  # before a group is joined
    import torch.distributed as dist
    sys.path.insert(0, {tests!r})
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    from test_gathered import on_a_rank
    found, rank = on_a_rank(), dist.get_rank()
    dist.destroy_process_group()
    names = [open(path).read().strip() for path in glob.glob("/proc/self/task/*/comm")]
    found["left"] = [name for name in names if "gloo" in name]
    with open(f"{{sys.argv[1]}}.{{rank}}", "w") as file:
        json.dump(found, file)
""").format(tests=str(Path(__file__).parent))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    "What both ranks found, by one launch."
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "script.py").write_text(SCRIPT)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(WORLD),
        folder / "script.py",
        folder / "found",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == 0, done.stderr[:5000]
    return [json.loads((folder / f"found.{rank}").read_text()) for rank in range(WORLD)]


def error(found, wanted):
    found = torch.tensor(found, dtype=F64)
    return ((found[1:] - wanted[1:]).norm() / wanted[1:].norm()).item(), (abs(found[0] - wanted[0]) / abs(wanted[0])).item()


def both(ranks, name):
    assert ranks[0][name] == ranks[1][name]
    return ranks[0][name]


# --- objectives -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("built", BUILT)
@pytest.mark.parametrize("name", [m.name for m in methods("pairs")])
def test_every_objective_has_the_gradient_of_one_process(ranks, name, built):
    wanted = one_process(partial(same_loss, name, built, lambda x: x))
    assert wanted[1:].norm() > 1e-3
    assert max(error(both(ranks, f"same, {built}, {name}"), wanted)) < 1e-12


@pytest.mark.parametrize("name", sorted({m.name for m in methods("pairs")} - POOLED))
def test_own_rows_do_for_every_mean_over_queries(ranks, name):
    wanted = one_process(partial(same_loss, name, "in_batch", lambda x: x))
    assert max(error(both(ranks, f"own, {name}"), wanted)) < 1e-12


@pytest.mark.parametrize("name", sorted(POOLED))
def test_own_rows_do_not_do_for_an_objective_that_pools(ranks, name):
    wanted = one_process(partial(same_loss, name, "in_batch", lambda x: x))
    assert error(both(ranks, f"own, {name}"), wanted)[1] > 1e-4


def test_the_missing_gradient_is_seen(ranks):
    wanted = one_process(partial(same_loss, "info_nce", "in_batch", lambda x: x))
    gradient, value = error(both(ranks, "plain, own"), wanted)
    assert value < 1e-12 and gradient > 0.1


def test_the_factor_is_seen_and_its_cure_spoils_the_temperature(ranks):
    wanted = one_process(partial(same_loss, "info_nce", "in_batch", lambda x: x))
    found, cured = (torch.tensor(both(ranks, f"plain, same{more}"), dtype=F64) for more in ("", ", times W"))
    assert torch.allclose(found[1:-1], wanted[1:-1] / WORLD, rtol=1e-10) and torch.isclose(found[-1], wanted[-1])
    assert torch.allclose(cured[1:-1], wanted[1:-1], rtol=1e-10) and torch.isclose(cured[-1], WORLD * wanted[-1])


@pytest.mark.parametrize(
    "trainer", ["DistributedDataParallel, info_nce", "DistributedDataParallel, mw", "DistributedDataParallel, ring", "accelerate, own"]
)
def test_trainers_that_average(ranks, trainer):
    name, built = ("mw" if trainer.endswith("mw") else "info_nce"), ("in_batch" if "own" in trainer else "two_views")
    assert max(error(both(ranks, trainer), one_process(partial(same_loss, name, built, lambda x: x)))) < 1e-12


def test_the_other_branch_of_the_backward_sum(ranks):
    assert max(error(both(ranks, "reduce_scatter"), one_process(partial(own_loss, "info_nce", lambda x: x)))) < 1e-12


# --- rings ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RINGS)
def test_a_ring_has_the_gradient_of_one_process(ranks, name):
    _, dense, nt_xent, _ = RINGS[name]
    wanted = slopes(lambda model: dense_loss(dense, nt_xent, model), Tower())
    assert max(error(both(ranks, name), wanted)) < 1e-12
    gradient, value = error(both(ranks, f"{name}, float32"), wanted)
    assert gradient < 1e-5 and value < 2e-6


def test_a_ring_takes_any_slopes_that_arrive(ranks):
    a, b = (x.requires_grad_() for x in views())
    weights = torch.cat([torch.arange(1.0, ROWS // WORLD + 1, dtype=F64) * (1 + rank) for rank in range(WORLD)])
    wanted = torch.autograd.grad(info_nce(*in_batch(a, b), temperature=T, reduction="none") @ weights, [a, b])
    for place, want in enumerate(wanted):
        found = torch.tensor(ranks[0]["weighed"][place] + ranks[1]["weighed"][place], dtype=F64)
        assert torch.allclose(found, want, rtol=1e-11, atol=1e-14)


# --- what else two processes found ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["subgroup", "labels", "slanted", "second", "func", "half", "twice"])
def test_it_holds_on_both_ranks(ranks, name):
    assert ranks[0][name] is True and ranks[1][name] is True


def test_ranks_that_disagree_are_told_so(ranks):
    assert both(ranks, "uneven") == [
        "x: got (3, 2) float32 without gradient on rank 0, (3, 3) float32 without gradient on rank 1, want the same on every rank",
        "x: got (3, 2) float32 without gradient on rank 0, (4, 2) float32 without gradient on rank 1, want the same on every rank",
    ]
    assert "(3,) float32 with gradient on rank 0, (3,) float32 without gradient on rank 1" in both(ranks, "gradient or none")
    assert "float32 without gradient on rank 0, (3,) float64" in both(ranks, "dtypes")
    assert both(ranks, "ring uneven").startswith("key: got (12, 10) float64 with gradient on rank 0, (11, 10)")
    assert both(ranks, "outsider") == "group: this process does not belong to it"
    assert both(ranks, "no grad") is False


def test_no_thread_outlives_the_group(ranks):
    assert both(ranks, "left") == []


# --- one process -----------------------------------------------------------------------------------------------------------------


def test_without_a_group_the_gather_is_the_identity():
    x = numbers(3, 2)
    assert gather_with_grad(x) is x and own_rows(x).tolist() == [0, 1, 2]


@pytest.mark.parametrize("x, kind, words", [
    ([1.0], TypeError, "x: got list"), (torch.tensor(1.0), ValueError, "x: got 0 dimensions"),
    (torch.ones(2, dtype=torch.complex64), TypeError, "x: got dtype torch.complex64"),
])  # fmt: skip
def test_the_gather_refuses(x, kind, words):
    with pytest.raises(kind, match=words):
        gather_with_grad(x)


@pytest.mark.parametrize("ring", [ring_info_nce, ring_mw])
@pytest.mark.parametrize("change, words", [
    ({"temperature": 0.0}, "temperature"), ({"temperature": torch.ones(3)}, "temperature"), ({"temperature": "warm"}, "temperature"),
    ({"chunk": 0}, "chunk"), ({"chunk": True}, "chunk"), ({"key": numbers(3, 6)}, "key: got 3 rows"), ({"key": numbers(4, 5)}, "key"),
    ({"query": numbers(4, 6, 1)}, "query"), ({"target": torch.tensor([0, 1, 2, 4])}, "target"), ({"target": torch.zeros(4)}, "target"),
    ({"key": numbers(5, 6), "target": torch.arange(4), "exclude_self": True}, "key: got 5 rows"),
])  # fmt: skip
def test_rings_refuse(ring, change, words):
    given = dict(query=numbers(4, 6), key=numbers(4, 6), temperature=0.1) | change
    with pytest.raises((TypeError, ValueError), match=words):
        ring(given.pop("query"), given.pop("key"), **given)


def test_ring_mw_refuses_a_temperature_beyond_its_table():
    with pytest.raises(ValueError, match="temperature: got 1e-06, too low"):
        ring_mw(numbers(4, 6).float(), numbers(4, 6).float(), temperature=1e-6)


def test_ring_info_nce_refuses_a_reduction():
    with pytest.raises(ValueError, match="reduction"):
        ring_info_nce(numbers(4, 6), numbers(4, 6), temperature=0.1, reduction="average")


@pytest.mark.parametrize("chunk", [1, 3, 100, None])
def test_gradcheck_of_the_ring(chunk):
    q, k, t = numbers(5, 3).requires_grad_(), numbers(7, 3, seed=1).requires_grad_(), torch.tensor(0.5, dtype=F64, requires_grad=True)
    target = torch.tensor([3, 0, 6, 6, 1])
    assert torch.autograd.gradcheck(lambda q, k, t: ring_info_nce(q, k, temperature=t, target=target, chunk=chunk), (q, k, t))
    wanted = info_nce(*in_batch(q, k, target=target), temperature=t, reduction="none")
    assert torch.allclose(ring_info_nce(q, k, temperature=t, target=target, chunk=chunk, reduction="none"), wanted, rtol=1e-12)
    assert torch.allclose(ring_info_nce(q, k, temperature=t, target=target, chunk=chunk, reduction="sum"), wanted.sum(), rtol=1e-12)


def test_the_ring_under_torch_func():
    q, k = numbers(5, 3), numbers(5, 3, seed=1)
    found = torch.func.grad(lambda q: ring_info_nce(q, k, temperature=0.3))(q)
    assert torch.allclose(found, torch.func.grad(lambda q: info_nce(*in_batch(q, k), temperature=0.3))(q), rtol=1e-11)


def test_second_derivatives_of_the_ring_are_refused():
    q = numbers(5, 3).requires_grad_()
    slope = torch.autograd.grad(ring_info_nce(q, numbers(5, 3, seed=1), temperature=0.3), q, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="ring: has first derivatives alone"):
        torch.autograd.grad(slope.sum(), q)


def relative(found, wanted):
    return ((found.double() - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("ring, dense", [(ring_info_nce, info_nce), (ring_mw, mw)])
@pytest.mark.parametrize("away", [1, -1])
@pytest.mark.parametrize("t", [1.0, 0.1, 0.05, 0.02, 0.01, 0.005])
def test_float32_holds_at_low_temperature(ring, dense, away, t):
    q = F.normalize(numbers(60, 16), dim=1)
    k = F.normalize(away * q + 0.1 * numbers(60, 16, seed=1), dim=1)
    q, k = q.float().requires_grad_(), k.float().requires_grad_()
    loss = ring(q, k, temperature=t, chunk=13)
    found = torch.autograd.grad(loss, [q, k])
    wide = [x.detach().double().requires_grad_() for x in (q, k)]
    wanted = dense(*in_batch(*wide), temperature=t)
    slopes_wanted = torch.autograd.grad(wanted, wide)
    assert relative(loss.detach(), wanted.detach()) < max(2e-6, 1e-6 / t)
    assert max(map(relative, found, slopes_wanted)) < max(1e-5, 3e-6 / t)


@pytest.mark.parametrize("ring", [ring_info_nce, ring_mw])
@pytest.mark.parametrize(("entries", "rows"), [(30, 4), (3, 1)])
def test_a_tile_has_as_many_rows_as_the_cache_takes(ring, entries, rows, monkeypatch):
    tiles, seen = gathered._tiles, set()
    monkeypatch.setattr(gathered, "_tiles", lambda *given: (seen.add(given[-1]), tiles(*given))[1])
    monkeypatch.setattr(gathered, "ENTRIES_AT_ONCE", entries)
    monkeypatch.setattr(tabulated, "ENTRIES_A_TILE", entries)
    q, k = (numbers(7, 4, seed=s).float().requires_grad_() for s in (0, 1))
    torch.autograd.grad(ring(q, k, temperature=0.1), [q, k])
    assert seen == {rows}


@pytest.mark.parametrize("ring", [ring_info_nce, ring_mw])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(ring, kind):
    q, k = (numbers(20, 8, seed=s).to(kind) for s in (0, 1))
    wide = ring(q.float(), k.float(), temperature=0.1)
    assert torch.equal(ring(q, k, temperature=0.1), wide) and wide.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ring(q, k, temperature=0.1), wide)


@pytest.mark.parametrize("ring, dense", [(ring_info_nce, info_nce), (ring_mw, mw)])
@pytest.mark.parametrize("kind", [torch.float32, F64])
def test_the_odd_batches(ring, dense, kind):
    one = numbers(1, 4).to(kind).requires_grad_()
    loss = ring(one, one, temperature=0.1)
    assert loss == 0 and torch.equal(torch.autograd.grad(loss, one)[0], torch.zeros_like(one))  # no negative
    alike = torch.ones(6, 4, dtype=kind)
    assert torch.allclose(ring(alike, alike, temperature=0.1), dense(*in_batch(alike, alike), temperature=0.1), rtol=1e-6)
    zero = numbers(6, 4).to(kind)
    zero[2] = 0
    zero.requires_grad_()
    found = torch.autograd.grad(ring(zero, alike, temperature=0.5), zero)[0]
    assert torch.isfinite(found).all()
    slanted = numbers(4, 6).to(kind).T
    straight = ring(slanted.contiguous(), slanted.contiguous(), temperature=0.5)  # torch's products of the two differ in the last bit
    torch.testing.assert_close(ring(slanted, slanted, temperature=0.5), straight, rtol=1e-6 if kind == torch.float32 else 1e-14, atol=0)


@pytest.mark.parametrize("kind", [torch.float32, F64])
@pytest.mark.parametrize("ring", [ring_info_nce, ring_mw])
@pytest.mark.parametrize("side", [0, 1])
def test_a_nan_is_not_hidden(ring, kind, side):
    given = [numbers(6, 4, seed=s).to(kind) for s in (0, 1)]
    given[side][3, 1] = math.nan
    assert torch.isnan(ring(*given, temperature=0.1))


def test_ring_mw_of_own_and_other_targets():
    q, k = (numbers(n, 8, seed=n) for n in (6, 9))
    target = torch.tensor([8, 0, 0, 3, 5, 7])
    wanted = mw(*in_batch(q, k, target=target), temperature=0.1)
    assert torch.allclose(ring_mw(q, k, temperature=0.1, target=target), wanted, rtol=1e-12)
    assert abs(ring_mw(q.float(), k.float(), temperature=0.1, target=target, chunk=4) / wanted - 1) < 1e-6
    z = torch.cat([q, numbers(6, 8, seed=1)])
    other = torch.arange(12).roll(6)
    wanted = mw(*exclude(in_batch(z, z, target=other), torch.eye(12, dtype=torch.bool)), temperature=0.1)
    assert torch.allclose(wanted, mw(*two_views(*z.chunk(2)), temperature=0.1))
    assert abs(ring_mw(z.float(), z.float(), temperature=0.1, target=other, exclude_self=True) / wanted - 1) < 1e-6


# --- from a notebook ------------------------------------------------------------------------------------------------------------

LAUNCH = textwrap.dedent("""
    import socket, sys
    import torch
    from accelerate import notebook_launcher

    def train(path):
        from accelerate import Accelerator
        from contrastive_nb.scaling import gather_with_grad
        accelerator = Accelerator(cpu=True)
        x = torch.full((2,), 1.0 + accelerator.process_index, requires_grad=True)
        (slope,) = torch.autograd.grad(gather_with_grad(x).square().sum() * (1 + accelerator.process_index), x)
        with open(f"{path}.{accelerator.process_index}", "w") as file:
            file.write(str(slope.tolist()))
        torch.distributed.destroy_process_group()

    torch.ones(3, requires_grad=True).sum().backward()  # a notebook has done so before
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    notebook_launcher(train, (sys.argv[1],), num_processes=2, use_port=str(port))
""")


def test_the_notebook_launcher_of_accelerate(tmp_path):
    (tmp_path / "launch.py").write_text(LAUNCH)
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, tmp_path / "launch.py", tmp_path / "slope"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(tmp_path / f"slope.{rank}").read_text() for rank in range(2)] == ["[6.0, 6.0]", "[12.0, 12.0]"]  # 2 x, times 1 + 2
