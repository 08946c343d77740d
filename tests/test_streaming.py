"""Streaming objectives against the dense builders: values, gradients, digits, memory, errors."""

import itertools
import math
import subprocess
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.debiasing import debiased_nce
from contrastive_nb.kernels.tile import softmax_, softmax_fused_
from contrastive_nb.objectives import decoupled_nce, info_nce, mw
from contrastive_nb.pairs import from_labels, in_batch, two_views
from contrastive_nb.scaling import pooled, streaming_debiased_nce, streaming_decoupled_nce, streaming_info_nce, streaming_mw, tiles

STREAMS = {
    "info_nce": (streaming_info_nce, info_nce),
    "decoupled": (streaming_decoupled_nce, decoupled_nce),
    "debiased": (partial(streaming_debiased_nce, prior=0.2), partial(debiased_nce, prior=0.2)),
    "floor": (partial(streaming_debiased_nce, prior=0.6, lowest=-0.1), partial(debiased_nce, prior=0.6, lowest=-0.1)),
    "no prior": (partial(streaming_debiased_nce, prior=0.0), partial(debiased_nce, prior=0.0)),
    "mw": (streaming_mw, mw),
}
EACH = pytest.mark.parametrize("name", STREAMS)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slopes(loss, *inputs):
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*inputs)
    return [value.detach(), *torch.autograd.grad(value, inputs)]


def distance(a, b):
    "Norm of the difference over the norm of what is wanted (absolute where that is nothing but rounding)."
    a, b = a.double(), b.double()
    return float((a - b).norm() / (b.norm() if b.norm() > 1e-29 else 1))


def same(one, other, *inputs, tolerance=1e-12):
    for i, (a, b) in enumerate(zip(slopes(one, *inputs), slopes(other, *inputs), strict=True)):
        assert distance(a, b) < tolerance, f"{'value' if not i else f'gradient of input {i - 1}'}: {a} {b}"


Q, K, MORE = draw(13, 6), draw(13, 6, seed=1), draw(9, 6, seed=2)
T = torch.tensor(0.2, dtype=torch.float64)
LABELS = torch.tensor([0, 1, 0, 2, 2, 2, 7, 1, 0, 0, -5, 2, 2])  # 7 and -5 stand alone


# --- float64 against the dense form -----------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("chunk", [1, 4, 13, 100, None])
def test_further_keys_are_shared_negatives(name, chunk):
    stream, dense = STREAMS[name]
    same(
        lambda q, k, h, t: stream(q, torch.cat([k, h]), temperature=t, chunk=chunk),
        lambda q, k, h, t: dense(*in_batch(q, k, h), temperature=t),
        Q,
        K,
        MORE,
        T,
    )


@EACH
@pytest.mark.parametrize("chunk", [1, 5, None])
def test_two_views(name, chunk):
    stream, dense = STREAMS[name]
    ids = torch.arange(13).repeat(2)

    def views(a, b, t):
        z = torch.cat([a, b])
        return stream(z, z, temperature=t, ids=ids, exclude_self=True, chunk=chunk)

    same(views, lambda a, b, t: dense(*two_views(a, b), temperature=t), Q, K, T)


@EACH
@pytest.mark.parametrize("chunk", [1, 5, None])
@pytest.mark.parametrize("listed", [0, 4, 100])
def test_labels(name, chunk, listed, monkeypatch):
    monkeypatch.setattr(tiles, "LISTED", listed)
    stream, dense = STREAMS[name]
    for labels in (LABELS, LABELS % 2, torch.arange(13), torch.zeros(13, dtype=torch.int32)):  # the last two: no positive, no negative
        same(lambda z, t, labels=labels: stream(z, z, temperature=t, ids=labels, exclude_self=True, chunk=chunk),
             lambda z, t, labels=labels: dense(*from_labels(z, labels), temperature=t), Q, T)  # fmt: skip


@EACH
def test_ids_of_keys(name):
    "Ids of their own for the keys; ids that no query has are negative to all; fewer keys than queries."
    stream, dense = STREAMS[name]
    for count in (22, 5):
        keys, ids = torch.cat([K, MORE])[:count], torch.cat([LABELS.flip(0), torch.full((9,), 99)])[:count]

        def by_masks(q, k, t, ids=ids):
            scores = F.normalize(q) @ F.normalize(k).T
            positives = LABELS[:, None] == ids
            return dense(scores, positives, ~positives, temperature=t)

        same(lambda q, k, t, ids=ids: stream(q, k, temperature=t, ids=LABELS, key_ids=ids, chunk=3), by_masks, Q, keys, T)

        def without_itself(q, k, t, ids=ids):
            scores, itself = F.normalize(q) @ F.normalize(k).T, torch.eye(13, len(ids), dtype=torch.bool)
            positives = LABELS[:, None] == ids
            return dense(scores, positives & ~itself, ~positives & ~itself, temperature=t)

        same(
            lambda q, k, t, ids=ids: stream(q, k, temperature=t, ids=LABELS, key_ids=ids, exclude_self=True, chunk=3),
            without_itself,
            Q,
            keys,
            T,
        )


@EACH
def test_ids_without_key_ids_leave_further_keys_to_nobody(name):
    stream, dense = STREAMS[name]
    keys = torch.cat([K, MORE])
    positives = torch.cat([LABELS[:, None] == LABELS, torch.zeros(13, 9, dtype=torch.bool)], 1)
    same(lambda q, k: stream(q, k, temperature=0.2, ids=LABELS, chunk=4),
         lambda q, k: dense(F.normalize(q) @ F.normalize(k).T, positives, ~positives, temperature=0.2), Q, keys)  # fmt: skip


@EACH
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_reductions(name, reduction):
    stream, dense = STREAMS[name]
    worth = draw(13, seed=5).abs()
    total = lambda losses: losses if reduction == "sum" else (worth * losses).sum()
    same(lambda q, k, t: total(stream(q, k, temperature=t, reduction=reduction, chunk=4)),
         lambda q, k, t: total(dense(*in_batch(q, k), temperature=t, reduction=reduction)), Q, K, T)  # fmt: skip
    each, wanted = (f(*x, temperature=0.2, reduction="none") for f, x in ((stream, (Q, K)), (dense, in_batch(Q, K))))
    assert each.shape == wanted.shape and torch.allclose(each, wanted)


@EACH
def test_reduction_of_labels(name):
    stream, dense = STREAMS[name]
    way = dict(temperature=0.2, ids=LABELS, exclude_self=True)
    each, wanted = stream(Q, Q, **way, reduction="none"), dense(*from_labels(Q, LABELS), temperature=0.2, reduction="none")
    assert each.shape == wanted.shape and torch.allclose(each, wanted)
    total = stream(Q.float(), Q.float(), **way, reduction="sum")
    assert torch.allclose(total.double(), wanted.sum(), rtol=1e-5)


@EACH
def test_dot_products(name):
    stream, dense = STREAMS[name]
    same(lambda q, k, t: stream(q, k, temperature=t, similarity="dot", chunk=3),
         lambda q, k, t: dense(*in_batch(q, k, similarity="dot"), temperature=t), Q, K, T * 10)  # fmt: skip
    value, wanted = (
        stream(Q.float(), K.float(), temperature=2.0, similarity="dot"),
        dense(*in_batch(Q, K, similarity="dot"), temperature=2.0),
    )
    assert torch.allclose(value.double(), wanted, rtol=1e-5)


@EACH
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2)])
def test_few_rows(name, shape):
    stream, dense = STREAMS[name]
    q, k, h = draw(shape[0], 3), draw(shape[0], 3, seed=1), draw(shape[1] - shape[0], 3, seed=2)
    same(lambda q, k, h: stream(q, torch.cat([k, h]), temperature=0.2), lambda q, k, h: dense(*in_batch(q, k, h), temperature=0.2), q, k, h)


@EACH
def test_empty_batch(name):
    q = torch.zeros(0, 3, requires_grad=True)
    loss = STREAMS[name][0](q, torch.zeros(0, 3), temperature=0.2)
    loss.backward()
    assert loss == 0 and q.grad.shape == (0, 3)


@EACH
def test_duplicates_zero_rows_and_strides(name):
    stream, dense = STREAMS[name]
    flat = draw(6, 13).T  # not contiguous
    twice = torch.cat([Q[:4], Q[:4], torch.zeros(1, 6, dtype=torch.float64)])
    for q, k in ((flat, K), (twice, K[:9]), (torch.ones(5, 6, dtype=torch.float64), torch.ones(5, 6, dtype=torch.float64))):
        same(
            lambda q, k: stream(q, k, temperature=0.2, chunk=2), lambda q, k: dense(*in_batch(q, k), temperature=0.2), q, k, tolerance=1e-11
        )
    q = Q.clone().requires_grad_()
    stream(q.T.contiguous().T, K, temperature=0.2).backward()
    assert q.grad is not None


@EACH
def test_gradcheck(name):
    stream = STREAMS[name][0]
    inputs = [x.clone().requires_grad_() for x in (Q[:4], K[:6], torch.tensor([0.5], dtype=torch.float64))]
    assert torch.autograd.gradcheck(lambda q, k, t: stream(q, k, temperature=t, chunk=3), inputs)
    assert torch.autograd.gradcheck(lambda q, k, t: stream(q, k, temperature=t, chunk=3, reduction="none"), inputs)


@EACH
def test_functional_gradient(name):
    stream, dense = STREAMS[name]
    found = torch.func.grad(lambda q, t: stream(q, K, temperature=t), argnums=(0, 1))(Q, T)
    wanted = torch.func.grad(lambda q, t: dense(*in_batch(q, K), temperature=t), argnums=(0, 1))(Q, T)
    assert all(distance(a, b) < 1e-12 for a, b in zip(found, wanted, strict=True))


@EACH
def test_of_the_other_transforms_those_of_one_backward_pass_work_and_the_rest_raise(name):
    stream = STREAMS[name][0]
    loss = lambda q: stream(q, K, temperature=T)  # noqa: E731
    value, slope = torch.func.vjp(loss, Q)
    want = torch.func.grad(loss)(Q)
    assert torch.equal(slope(torch.ones_like(value))[0], want) and torch.equal(torch.func.grad_and_value(loss)(Q)[0], want)
    raised = {
        "does not have vmap support": [
            lambda: torch.func.vmap(loss)(Q[None]),
            lambda: torch.func.jacrev(loss)(Q),
            lambda: torch.func.jacfwd(loss)(Q),
            lambda: torch.func.hessian(loss)(Q),
        ],
        "You must implement the jvp function": [lambda: torch.func.jvp(loss, (Q,), (Q,))],
        "first derivatives alone": [lambda: torch.func.grad(lambda q: torch.func.grad(loss)(q).sum())(Q)],
    }
    for words, calls in raised.items():
        for transform in calls:
            with pytest.raises(RuntimeError, match=words):
                transform()


@EACH
def test_only_what_asks_gets_a_gradient(name):
    stream, dense = STREAMS[name]
    for asked in itertools.product([False, True], repeat=3):
        inputs = [x.clone().requires_grad_(wanted) for x, wanted in zip((Q, K, T), asked, strict=True)]
        loss = stream(*inputs[:2], temperature=inputs[2])
        assert loss.requires_grad == any(asked)
        if any(asked):
            loss.backward()
        else:
            assert loss.grad_fn is None
        true = slopes(lambda q, k, t: dense(*in_batch(q, k), temperature=t), Q, K, T)[1:]
        for x, wanted, slope in zip(inputs, asked, true, strict=True):
            assert (x.grad is not None) == wanted and (not wanted or distance(x.grad, slope) < 1e-12)


@EACH
def test_no_slopes_without_gradients(name, monkeypatch):
    for module in (tiles, pooled):
        monkeypatch.setattr(module, "Gradients", None)  # would raise if it were made
    q = Q.clone().requires_grad_()
    with torch.no_grad():
        assert torch.isfinite(STREAMS[name][0](q, K, temperature=0.2))
    assert torch.isfinite(STREAMS[name][0](Q, K, temperature=0.2))
    with pytest.raises(TypeError):
        STREAMS[name][0](q, K, temperature=0.2)


@EACH
def test_second_derivatives_are_refused(name):
    q = Q.clone().requires_grad_()
    first = torch.autograd.grad(STREAMS[name][0](q, K, temperature=0.2), q, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="first derivatives alone"):
        first.sum().backward()


def test_backward_twice_scales_twice():
    q = Q.clone().requires_grad_()
    loss = streaming_info_nce(q, K, temperature=0.2)
    loss.backward(retain_graph=True)
    once = q.grad.clone()
    (3 * loss).backward()
    assert torch.allclose(q.grad, 4 * once)


# --- digits ------------------------------------------------------------------------------------------------------------------------


def embeddings(kind, rows=160, width=48):
    q, noise = draw(rows, width, dtype=torch.float32), draw(rows, width, seed=1, dtype=torch.float32)
    return q, {"spread": noise, "aligned": q + 0.1 * noise, "anti": 0.1 * noise - q}[kind]


@pytest.mark.parametrize("name", ["info_nce", "decoupled", "debiased", "mw"])
@pytest.mark.parametrize("kind", ["spread", "aligned", "anti"])
@pytest.mark.parametrize("t", [1.0, 0.1, 0.05, 0.02, 0.01, 0.005])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_float32_from_embeddings(name, kind, t, similarity):
    stream, dense = STREAMS[name]
    q, k = embeddings(kind)
    if similarity == "dot":
        q, k = F.normalize(q), F.normalize(k)
    inputs = q, k, torch.tensor(t)
    found = slopes(lambda q, k, t: stream(q, k, temperature=t, chunk=37, similarity=similarity), *inputs)
    wanted = slopes(lambda q, k, t: dense(*in_batch(q, k, similarity=similarity), temperature=t), *(x.double() for x in inputs))
    if abs(float(wanted[0])) < 1e-30:  # below what float32 can hold, slopes included
        assert abs(float(found[0])) < 1e-30 and all(x.abs().max() < 1e-25 for x in found[1:3])
        return
    assert found[0].dtype == torch.float32 and distance(found[0], wanted[0]) < max(1e-6, 3e-7 / t)
    for a, b in zip(found[1:3], wanted[1:3], strict=True):
        assert distance(a, b) < max(1e-5, 3e-7 / t)
    assert distance(found[3], wanted[3]) < max(1e-5, 3e-7 / t)


@pytest.mark.parametrize("listed", [0, 1000])
@pytest.mark.parametrize("t", [0.5, 0.05, 0.01])
def test_float32_mw_with_many_positives(t, listed, monkeypatch):
    monkeypatch.setattr(tiles, "LISTED", listed)
    q, _ = embeddings("spread", rows=60)
    labels = torch.arange(len(q)) % 3
    for reduction in ("mean", "sum"):
        stream = partial(streaming_mw, ids=labels, exclude_self=True, chunk=25, reduction=reduction)
        whole = partial(mw, reduction=reduction)
        found = slopes(lambda q, t, stream=stream: stream(q, q, temperature=t), q, torch.tensor(t))
        wanted = slopes(lambda q, t, whole=whole: whole(*from_labels(q, labels), temperature=t), q.double(), torch.tensor(t).double())
        assert all(distance(a, b) < max(2e-6, 3e-7 / t) for a, b in zip(found, wanted, strict=True))


def test_what_plain_torch_loses():
    "At 0.02 cross_entropy has lost the value of aligned positives; the stream has it."
    q, k = embeddings("aligned")
    wanted = float(info_nce(*in_batch(q.double(), k.double()), temperature=0.02))
    plain = float(F.cross_entropy(F.normalize(q) @ F.normalize(k).T / 0.02, torch.arange(len(q))))
    assert abs(plain / wanted - 1) > 0.5 and abs(float(streaming_info_nce(q, k, temperature=0.02)) / wanted - 1) < 1e-5


@EACH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype):
    stream, dense = STREAMS[name]
    q, k = (x.to(dtype) for x in embeddings("spread"))
    found = slopes(lambda q, k: stream(q, k, temperature=0.1), q, k)
    wanted = slopes(lambda q, k: dense(*in_batch(q, k), temperature=0.1), q.double(), k.double())
    assert found[0].dtype == torch.float32 and found[1].dtype == dtype
    assert distance(found[0], wanted[0]) < 1e-5 and all(distance(a, b) < 1e-2 for a, b in zip(found, wanted, strict=True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(stream(q, k, temperature=0.1), found[0], rtol=1e-6)  # to rounding: this one makes no slopes


@EACH
def test_products_in_bfloat16(name):
    stream, _ = STREAMS[name]
    q, k = embeddings("spread")
    exact = slopes(lambda q, k: stream(q, k, temperature=0.1), q, k)
    rounded = slopes(lambda q, k: stream(q, k, temperature=0.1, products="bfloat16"), q, k)
    tolerance = 5e-2 if name == "debiased" else 1e-2  # at its floor a row's slope is 0: a rounded score may cross the edge
    assert all(0 < distance(a, b) < tolerance for a, b in zip(rounded, exact, strict=True))


@EACH
def test_same_bits_twice_and_near_the_same_for_every_tile(name):
    stream, _ = STREAMS[name]
    q, k = embeddings("spread")
    runs = [slopes(partial(stream, temperature=0.05, chunk=chunk), q, k) for chunk in (7, 7, 64)]
    assert all(torch.equal(a, b) for a, b in zip(*runs[:2], strict=True))
    assert all(distance(a, b) < 1e-5 for a, b in zip(*runs[1:], strict=True))


@EACH
def test_a_number_that_is_none_is_not_hidden(name):
    stream, dense = STREAMS[name]
    for dtype in (torch.float32, torch.float64):
        q = Q.to(dtype).clone()
        q[2, 1] = math.nan
        losses, wanted = (
            stream(q, K.to(dtype), temperature=0.2, reduction="none"),
            dense(*in_batch(q, K.to(dtype)), temperature=0.2, reduction="none"),
        )
        assert torch.equal(losses.isnan(), wanted.isnan()) and wanted.isnan().any()
        q.requires_grad_()
        loss = stream(q, K.to(dtype), temperature=0.2)
        loss.backward()
        assert loss.isnan() and q.grad[2].isnan().all()


def test_mw_announces_that_no_table_holds_the_scores():
    q, k = embeddings("spread", rows=12)
    with pytest.warns(UserWarning, match="no table holds scores"):
        found = streaming_mw(1e3 * q, 1e3 * k, temperature=0.01, similarity="dot")
    assert distance(found, mw(*in_batch(1e3 * q.double(), 1e3 * k.double(), similarity="dot"), temperature=0.01)) < 1e-5


# --- compiled, size, errors --------------------------------------------------------------------------------------------------------


def test_compiler_that_is_not_there(monkeypatch):
    def fails(tile):
        raise RuntimeError("no compiler")

    kernel = [fails]
    monkeypatch.setattr(tiles, "_compiler", lambda: kernel)
    with pytest.warns(UserWarning, match="torch.compile does not work here"):
        loss = streaming_info_nce(Q, K, temperature=0.2, compiled=True)
    assert torch.allclose(loss, info_nce(*in_batch(Q, K), temperature=0.2)) and kernel[0] is softmax_


def test_softmaxes_agree():
    scores = 20 * draw(5, 33, dtype=torch.float32)
    scores[1, 3] = -math.inf
    one, other = scores.clone(), scores.clone()
    tops = softmax_(one), softmax_fused_(other)
    assert torch.allclose(one, other, rtol=1e-5, atol=1e-30)
    assert torch.allclose(one, torch.softmax(scores, 1), rtol=1e-6, atol=1e-30)  # to rounding: in place is another call of torch
    assert torch.allclose(tops[0][0], tops[1][0]) and torch.allclose(tops[0][1], tops[1][1])


def test_what_a_compiler_makes_is_used(monkeypatch):
    kernel = [torch.compile(softmax_fused_, backend="eager", dynamic=True)]
    monkeypatch.setattr(tiles, "_compiler", lambda: kernel)
    monkeypatch.setattr(tiles, "softmax_", None)
    loss = streaming_info_nce(Q, K, temperature=0.2, compiled=True, chunk=5)
    assert torch.allclose(loss, info_nce(*in_batch(Q, K), temperature=0.2))


@pytest.mark.slow
def test_compiled_on_the_processor():
    code = (
        "import warnings; warnings.simplefilter('error', UserWarning)\n"
        "import torch; from contrastive_nb.scaling import streaming_info_nce as f\n"
        "q, k = torch.randn(2, 50, 8)\n"
        "a, b = (f(q, k, temperature=0.1, chunk=20, compiled=c) for c in (True, False))\n"
        "assert torch.allclose(a, b, rtol=1e-5), (a, b)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode and "torch.compile does not work here" in done.stderr:
        pytest.skip("no compiler here")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stream", [streaming_info_nce, streaming_mw])
def test_memory_grows_with_the_embeddings(stream):
    "No tensor larger than a tile or the embeddings is made: watched at the dispatcher."
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                largest = max(largest, x.numel() if isinstance(x, torch.Tensor) else 0)
            return out

    q, k = (x.requires_grad_() for x in embeddings("spread", rows=2000, width=16))
    with Watch():
        stream(q, k, temperature=0.5, chunk=10).backward()
    assert 2000 * 16 <= largest <= 40_000  # the dense matrix has 4,000,000


BAD = [
    (dict(temperature=0), ValueError, "temperature: got 0"),
    (dict(temperature=-1.0), ValueError, "temperature: got -1"),
    (dict(temperature=None), TypeError, "temperature: got NoneType"),
    (dict(temperature=torch.ones(13, dtype=torch.float64)), ValueError, "temperature: got shape"),
    (dict(temperature=torch.tensor(math.nan)), ValueError, "temperature: got nan"),
    (dict(temperature=torch.tensor(1)), TypeError, "temperature: got dtype"),
    (dict(query=Q.long()), TypeError, "query: got dtype"),
    (dict(query=Q[0]), ValueError, "query: got shape"),
    (dict(key=K.float()), TypeError, "key: got dtype"),
    (dict(key=K[:, :5]), ValueError, "key: got 5 features"),
    (dict(key=K[:4]), ValueError, "key: got 4 rows"),
    (dict(key=K[:0], ids=LABELS, key_ids=LABELS[:0]), ValueError, "key: got no row"),
    (dict(ids=LABELS[:3]), ValueError, "ids: got shape"),
    (dict(ids=LABELS.double()), TypeError, "ids: got torch.float64"),
    (dict(ids=[1, 2]), TypeError, "ids: got list"),
    (dict(key_ids=LABELS), ValueError, "key_ids: got ids of keys and none"),
    (dict(ids=LABELS, key_ids=LABELS[:3]), ValueError, "key_ids: got shape"),
    (dict(exclude_self=True), ValueError, "exclude_self: got no ids"),
    (dict(chunk=0), ValueError, "chunk: got 0"),
    (dict(chunk=2.0), TypeError, "chunk: got float, want a whole number"),
    (dict(similarity="neg_euclidean"), ValueError, "similarity: got"),
    (dict(reduction="average"), ValueError, "reduction: got"),
    (dict(products="float16"), ValueError, "products: got"),
]


@pytest.mark.parametrize("changes, kind, said", BAD, ids=[said for *_, said in BAD])
@pytest.mark.parametrize("stream", [streaming_info_nce, streaming_mw])
def test_errors_name_the_argument(stream, changes, kind, said):
    arguments = dict(query=Q, key=K, temperature=0.2) | changes
    with pytest.raises(kind, match=said):
        stream(arguments.pop("query"), arguments.pop("key"), **arguments)


@pytest.mark.parametrize("changes, said", [(dict(prior=1.0), "prior: got 1.0"), (dict(prior=0.1, lowest="low"), "lowest: got str")])
def test_errors_of_the_debiased_stream(changes, said):
    with pytest.raises((TypeError, ValueError), match=said):
        streaming_debiased_nce(Q, K, temperature=0.2, **changes)
