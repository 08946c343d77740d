"""The queue, the slow encoder, and a training that keeps both in its checkpoint; the mixes themselves are walked by the harness."""

import copy

import pytest
import torch
from torch import nn

from contrastive_nb.encoders import mlp_encoder, seeded
from contrastive_nb.negatives import Queue, mochi, momentum_update, slow_copy
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import with_queue
from contrastive_nb.training import fit


def rows(start, stop):
    return torch.arange(float(start), float(stop))[:, None].repeat(1, 2)


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


# --- the queue -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [[1] * 13, [3, 3, 3, 3, 1], [5, 5, 5], [4, 9], [13], [0, 7, 0], [5], [2]], ids=str)
def test_the_queue_holds_the_last_keys(batches):
    queue, pushed = Queue(size=5, dim=2), 0
    for size in batches:
        queue.push(rows(pushed, pushed + size))
        pushed += size
        assert queue.pointer == pushed % 5
        assert sorted(queue.keys()[:, 0].tolist()) == list(range(max(0, pushed - 5), pushed))
        assert all(int(key) % 5 == place for place, key in enumerate(queue.keys()[:, 0]))  # the oldest is overwritten first


def test_a_queue_is_its_state():
    queue, other = Queue(4, 2), Queue(4, 2)
    queue.push(rows(0, 6))
    assert set(queue.state_dict()) == {"store", "pushed"} and not list(queue.parameters())
    other.load_state_dict(queue.state_dict())
    for either in (queue, other):
        either.push(rows(6, 7))
    assert torch.equal(queue.keys(), other.keys()) and queue.pointer == other.pointer == 3
    with pytest.raises(RuntimeError, match="store"):
        Queue(3, 2).load_state_dict(queue.state_dict())


def test_keys_are_a_copy_and_constants():
    queue, query = Queue(3, 2), rows(1, 3).requires_grad_()
    queue.push(query)
    keys = queue.keys()
    loss = info_nce(*with_queue(query, rows(1, 3), keys, similarity="dot"), temperature=1.0)
    queue.push(rows(7, 10))
    loss.backward()  # autograd refuses keys that were overwritten meanwhile
    assert not keys.requires_grad and torch.equal(keys, rows(1, 3)) and torch.isfinite(query.grad).all()


def test_a_queue_keeps_its_own_precision():
    queue = Queue(3, 2)
    queue.push(rows(0, 2).bfloat16())
    assert queue.keys().dtype == torch.float32
    assert queue.double().keys().dtype == torch.float64


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: Queue(0, 2), ValueError, "size: got 0"),
        (lambda: Queue(3.0, 2), TypeError, "size: got float"),
        (lambda: Queue(3, -1), ValueError, "dim: got -1"),
        (lambda: Queue(3, 2).push([1.0]), TypeError, "keys: got list"),
        (lambda: Queue(3, 2).push(torch.ones(2)), ValueError, "keys: got shape"),
        (lambda: Queue(3, 2).push(torch.ones(2, 3)), ValueError, "keys: got 3 features, want 2"),
        (lambda: Queue(3, 2).push(torch.ones(2, 2, dtype=torch.long)), TypeError, "keys: got dtype"),
        (lambda: Queue(3, 2).push(torch.ones(2, 2, device="meta")), ValueError, "keys: got device meta"),
    ],
)
def test_the_queue_refuses_by_name(wrong, error, words):
    with pytest.raises(error, match=words):
        wrong()


# --- the slow encoder ----------------------------------------------------------------------------------------------------------


def network():
    return seeded(0, lambda: mlp_encoder(4, dim=2, hidden=3))


@pytest.mark.parametrize("momentum", [0, 0.0, 0.25, 0.9, 1.0])
def test_the_weights_follow(momentum):
    online = network()
    slow = slow_copy(online)
    start = {name: weight.clone() for name, weight in online.named_parameters()}
    with torch.no_grad():
        for weight in online.parameters():
            weight += 1
    momentum_update(online, slow, momentum)
    for name, weight in online.named_parameters():
        assert torch.allclose(slow.state_dict()[name], momentum * start[name] + (1 - momentum) * weight, atol=1e-6)
    if momentum == 0:
        assert all(torch.equal(slow.state_dict()[name], weight) for name, weight in online.named_parameters())
    if momentum == 1:
        assert all(torch.equal(slow.state_dict()[name], weight) for name, weight in start.items())


def test_the_copy_computes_the_same_and_learns_nothing():
    online, x = network(), torch.randn(6, 4, generator=numbers())
    slow = slow_copy(online)
    assert not list(slow.parameters()) and set(slow.state_dict()) == set(online.state_dict())
    torch.testing.assert_close(slow(x), online(x))  # to rounding: what needs no gradient may go through another kernel of torch
    assert not slow(x).requires_grad
    assert len(list(online.parameters())) == 6  # the original is as it was
    assert slow.double()(x.double()).dtype == torch.float64


def test_batch_norm_keeps_its_own_statistics():
    online, x = network(), torch.randn(6, 4, generator=numbers())
    slow = slow_copy(online)
    online(x)
    momentum_update(online, slow, 0.0)
    means = [module.running_mean for module in slow.modules() if isinstance(module, nn.BatchNorm1d)]
    assert all((mean == 0).all() for mean in means)
    slow(x)
    assert all((mean != 0).any() for mean in means)
    slow.eval()(x)
    assert slow[2].num_batches_tracked == 1


def test_tied_weights_follow_once():
    online = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    online[1].weight = online[0].weight
    slow = slow_copy(online)
    with torch.no_grad():
        online[0].weight += 1
    momentum_update(online, slow, 0.5)
    assert torch.equal(slow[0].weight, slow[1].weight) and torch.allclose(slow[0].weight, online[0].weight - 0.5)


def test_a_recurrent_network_follows_too():
    online = nn.GRU(3, 2, batch_first=True)
    slow, x = slow_copy(online), torch.randn(2, 4, 3, generator=numbers())
    with torch.no_grad():
        online.weight_ih_l0 += 1
    before = slow(x)[0]
    momentum_update(online, slow, 0.0)
    torch.testing.assert_close(
        slow(x)[0], online(x)[0]
    )  # to rounding: a GRU of constants goes through a kernel of its own on some processors
    assert not torch.allclose(before, online(x)[0], atol=1e-2)


@pytest.mark.parametrize(
    ("slow", "momentum", "words"),
    [
        (nn.Linear(2, 2), 0.9, "slow: got a module without 0.weight"),
        (nn.Sequential(nn.Linear(2, 3)), 0.9, "slow: got a module without 0.weight of shape"),
        (nn.Sequential(nn.Linear(2, 2)), 1.1, "momentum: got 1.1"),
        (nn.Sequential(nn.Linear(2, 2)), -0.1, "momentum: got -0.1"),
        (nn.Sequential(nn.Linear(2, 2)), float("nan"), "momentum: got nan"),
    ],
)
def test_what_is_no_copy_is_refused(slow, momentum, words):
    with pytest.raises(ValueError, match=words):
        momentum_update(nn.Sequential(nn.Linear(2, 2)), slow, momentum)


# --- a training with memory ------------------------------------------------------------------------------------------------------


class Memory(nn.Module):
    def __init__(self, online):
        super().__init__()
        self.slow, self.queue = slow_copy(online), Queue(size=16, dim=2)

    def forward(self, model, first, second):
        momentum_update(model, self.slow, 0.9)
        key, query, queue = self.slow(second).float(), model(first).float(), self.queue.keys()
        extra = mochi(query, queue, hardest=8, mixed=4, query_mixed=2) if len(queue) == 16 else None
        pairs = with_queue(query, key, queue, extra=extra)
        self.queue.push(key)
        return pairs


def train(path, stop=None, where=None, precision="no"):
    "Nine steps; interrupted in step `stop`, either where the batch is drawn or where the loss is taken."
    online = network()
    memory, calls = Memory(online), {"sample": 0, "objective": 0}

    def count(place):
        calls[place] += 1
        if place == where and calls[place] == stop:
            raise KeyboardInterrupt

    def sample(generator):
        count("sample")
        x = torch.rand(8, 4, generator=generator)
        return x, x + 0.1

    def objective(*pairs):
        count("objective")  # by now the slow weights have followed and the queue has moved
        return info_nce(*pairs, temperature=0.2)

    history = fit(online, sample, memory, objective, steps=9, precision=precision, checkpoint=path / "c.pt")
    return online.state_dict() | memory.state_dict(), history


@pytest.mark.parametrize("where", ["sample", "objective"])
def test_an_interrupted_training_ends_in_the_same_bits(where, tmp_path):
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop=6, where=where)
    resumed, history = train(tmp_path / "broken")
    assert history.resumed_from == 5 and history.steps == 9
    assert set(whole) == set(resumed) and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_it_trains_in_bf16_and_the_queue_fills(tmp_path):
    state, history = train(tmp_path, precision="bf16")
    assert state["queue.pushed"] == 72 and all(torch.isfinite(value).all() for value in state.values())
    assert history.losses[0] == 0  # the queue was empty: there was nothing to compare with


def test_gradients_reach_the_query_alone():
    query, key, queue = (torch.randn(*shape, generator=numbers(), requires_grad=True) for shape in ((3, 4), (3, 4), (9, 4)))
    extra = mochi(query, queue, hardest=4, mixed=3, query_mixed=2, generator=numbers())
    pairs = with_queue(query, key, queue, extra=extra, detach_key=True)
    info_nce(*pairs, temperature=0.2).backward()
    assert query.grad.abs().sum() > 0 and key.grad is None and queue.grad is None


def test_more_mixes_than_hardest_and_never_a_key_with_itself():
    query, queue = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6], [0.8, -0.6], [-1.0, 0.0]])
    points = mochi(query, queue, hardest=2, mixed=500, query_mixed=500, generator=numbers())[0]
    pairs, own = points[:500], points[500:]
    assert pairs.shape == own.shape == (500, 2)
    apart = (pairs[:, None] - queue[:2]).norm(dim=-1).amin(1)
    assert (apart > 1e-4).all()  # a key mixed with itself would give itself
    assert (own @ query[0] >= 0.8 - 1e-6).all() and (own @ query[0] <= 0.9**0.5 + 1e-6).all()
    assert mochi(query, queue, hardest=1, mixed=0, query_mixed=0).shape == (1, 0, 2)


def test_a_deep_copy_of_the_build_goes_its_own_way():
    memory = Memory(network())
    other = copy.deepcopy(memory)
    other.queue.push(torch.ones(3, 2))
    assert memory.queue.pointer == 0 and other.queue.pointer == 3
