"""Builders against slow double loops over their definitions, their errors, precision, gradients; narrowing, checking."""

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import (
    SIMILARITIES,
    Pairs,
    cross,
    exclude,
    flip,
    from_labels,
    from_relevance,
    in_batch,
    join,
    similarity_matrix,
    stack,
    two_views,
    views,
    with_queue,
)


def normal(*shape: int, seed: int = 0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


A, B, C = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
QUEUE, OWN = normal(5, 3, seed=3), normal(4, 2, 3, seed=4)
LABELS = torch.tensor([0, 1, 0, 2])
TARGET = torch.tensor([2, 0, 0, 1])
HARD_MASK = torch.tensor([[True, True], [True, False], [False, False], [False, True]])
QUEUE_MASK = torch.tensor([True, False, True, True, False])
JUDGED, REFUSED = torch.rand(4, 5, generator=torch.Generator().manual_seed(5)) < 0.3, torch.zeros(4, 5, dtype=torch.bool)
REFUSED[:, 2:] = ~JUDGED[:, 2:]
RELEVANCE = torch.tensor([[2, 0, 1], [0, 0, 0], [1, 3, 1]])


def similar(a, b, similarity: str) -> float:
    "One number from two vectors, by the definition."
    a, b = a.tolist(), b.tolist()
    dot, length = sum(x * y for x, y in zip(a, b, strict=True)), lambda v: math.sqrt(sum(x * x for x in v))
    return {
        "dot": lambda: dot,
        "cosine": lambda: dot / (length(a) * length(b)) if length(a) * length(b) else 0.0,
        "neg_euclidean": lambda: -length([x - y for x, y in zip(a, b, strict=True)]),
    }[similarity]()


def looped(queries, keys, positive, negative, similarity: str) -> Pairs:
    "Pairs entry by entry: queries and keys are lists of vectors (keys a list a query), the kinds functions of two indices."
    scores = [[similar(q, k, similarity) for k in keys[i]] for i, q in enumerate(queries)]
    kinds = [torch.tensor([[bool(kind(i, j)) for j in range(len(row))] for i, row in enumerate(scores)]) for kind in (positive, negative)]
    return Pairs(torch.tensor(scores, dtype=torch.float64), *kinds)


def zeroed(keys, mask):
    return torch.stack([torch.where(there, key, 0.0) for key, there in zip(keys.flatten(0, -2), mask.flatten(), strict=True)]).view_as(keys)


def definitions(similarity: str) -> dict:
    "name -> (what the builder gives, what the double loop gives)."
    s = {"similarity": similarity}
    two, three = [*A, *B], [*A, *B, *C]
    own = [[*B, *OWN[i]] for i in range(4)]
    queued = [[B[i], *QUEUE] for i in range(4)]
    mixed = [[B[i], *QUEUE, *OWN[i]] for i in range(4)]
    diagonal, off = (lambda i, j: i == j), (lambda i, j: i != j)
    first, later = (lambda i, j: j == 0), (lambda i, j: j > 0)
    return {
        "two_views": (
            two_views(A, B, **s),
            looped(two, [two] * 8, lambda i, j: i != j and i % 4 == j % 4, lambda i, j: i % 4 != j % 4, similarity),
        ),
        "views": (
            views([A, B, C], **s),
            looped(three, [three] * 12, lambda i, j: i != j and i % 4 == j % 4, lambda i, j: i % 4 != j % 4, similarity),
        ),
        "in_batch": (in_batch(A, B, **s), looped([*A], [[*B]] * 4, diagonal, off, similarity)),
        "in_batch, shared hard": (in_batch(A, B, QUEUE, **s), looped([*A], [[*B, *QUEUE]] * 4, diagonal, off, similarity)),
        "in_batch, own hard": (in_batch(A, B, OWN, **s), looped([*A], own, diagonal, off, similarity)),
        "in_batch, target": (
            in_batch(A, B[:3], QUEUE, target=TARGET, **s),
            looped([*A], [[*B[:3], *QUEUE]] * 4, lambda i, j: j == [2, 0, 0, 1][i], lambda i, j: j != [2, 0, 0, 1][i], similarity),
        ),
        "in_batch, shared hard, some missing": (
            in_batch(A, B, QUEUE, hard_mask=QUEUE_MASK, **s),
            looped(
                [*A], [[*B, *zeroed(QUEUE, QUEUE_MASK)]] * 4, diagonal, lambda i, j: i != j and (j < 4 or QUEUE_MASK[j - 4]), similarity
            ),
        ),
        "in_batch, own hard, some missing": (
            in_batch(A, B, OWN, hard_mask=HARD_MASK, **s),
            looped(
                [*A],
                [[*B, *zeroed(OWN, HARD_MASK)[i]] for i in range(4)],
                diagonal,
                lambda i, j: i != j and (j < 4 or HARD_MASK[i, j - 4]),
                similarity,
            ),
        ),
        "with_queue, extra, some missing": (
            with_queue(A, B, QUEUE, extra=OWN, extra_mask=HARD_MASK, **s),
            looped(
                [*A],
                [[B[i], *QUEUE, *zeroed(OWN, HARD_MASK)[i]] for i in range(4)],
                first,
                lambda i, j: j > 0 and (j < 6 or HARD_MASK[i, j - 6]),
                similarity,
            ),
        ),
        "cross": (
            cross(A, QUEUE, JUDGED, **s),
            looped([*A], [[*QUEUE]] * 4, lambda i, j: JUDGED[i, j], lambda i, j: not JUDGED[i, j], similarity),
        ),
        "cross, three kinds": (
            cross(A, QUEUE, JUDGED, REFUSED, **s),
            looped([*A], [[*QUEUE]] * 4, lambda i, j: JUDGED[i, j], lambda i, j: REFUSED[i, j], similarity),
        ),
        "from_labels, ignore": (
            from_labels(A, LABELS, ignore=2, **s),
            looped(
                [*A],
                [[*A]] * 4,
                lambda i, j: i != j and 2 not in (LABELS[i], LABELS[j]) and LABELS[i] == LABELS[j],
                lambda i, j: 2 not in (LABELS[i], LABELS[j]) and LABELS[i] != LABELS[j],
                similarity,
            ),
        ),
        "with_queue": (with_queue(A, B, QUEUE, **s), looped([*A], queued, first, later, similarity)),
        "with_queue, extra": (with_queue(A, B, QUEUE, extra=OWN, **s), looped([*A], mixed, first, later, similarity)),
        "from_labels": (
            from_labels(A, LABELS, **s),
            looped([*A], [[*A]] * 4, lambda i, j: i != j and LABELS[i] == LABELS[j], lambda i, j: LABELS[i] != LABELS[j], similarity),
        ),
    }


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("name", definitions("dot"))
def test_builder_against_its_definition(name, similarity):
    got, want = definitions(similarity)[name]
    assert torch.allclose(got.scores, want.scores, rtol=1e-13, atol=1e-13) and got.scores.dtype == torch.float64
    assert torch.equal(got.positives, want.positives) and torch.equal(got.negatives, want.negatives)
    assert got.weights is None and got.check() is got


def test_from_relevance_against_its_definition():
    scores, padding = normal(3, 3), torch.tensor([[True, True, False]] * 3)
    for mask in (None, padding):
        pairs = from_relevance(scores, RELEVANCE, mask)
        for q in range(3):
            for k in range(3):
                there, grade = mask is None or bool(mask[q, k]), RELEVANCE[q, k].item()
                assert pairs.positives[q, k] == (there and grade > 0) and pairs.negatives[q, k] == (there and grade == 0)
                assert pairs.weights[q, k] == (grade if there and grade > 0 else 1)
        assert pairs.check() is pairs and torch.equal(pairs.scores, scores) and pairs.weights.dtype == scores.dtype


def test_counts_of_positives_and_negatives():
    assert two_views(A, B).positives.sum(1).tolist() == [1] * 8 and two_views(A, B).negatives.sum(1).tolist() == [6] * 8
    assert views([A, B, C]).positives.sum(1).tolist() == [2] * 12 and views([A, B, C]).negatives.sum(1).tolist() == [9] * 12
    assert with_queue(A, B, QUEUE, extra=OWN).scores.shape == (4, 1 + 5 + 2)
    assert with_queue(A, B, QUEUE[:0]).negatives.any().item() is False


def test_two_views_is_views_of_two():
    for one, two in zip(two_views(A, B), views([A, B]), strict=True):
        assert one is two is None or torch.equal(one, two)


def test_similarity_values_by_hand():
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [0.0, 0.0]])
    assert torch.allclose(similarity_matrix(a, b), torch.tensor([[24 / 25, 0.0]]))
    assert similarity_matrix(a, b, "dot").tolist() == [[24.0, 0.0]]
    assert torch.allclose(similarity_matrix(a, b, "neg_euclidean"), torch.tensor([[-math.sqrt(2), -5.0]]))
    with pytest.raises(ValueError, match="similarity: got 'euclidean', want one of 'cosine', 'dot', 'neg_euclidean'"):
        similarity_matrix(a, b, "euclidean")


def test_small_distances_keep_their_digits():
    far = torch.full((30, 8), 100.0)
    near = far + 1e-3 * torch.arange(30)[:, None]
    want = -torch.cdist(far.double(), near.double())
    assert torch.allclose(similarity_matrix(far, near, "neg_euclidean").double(), want, rtol=1e-6)


def test_the_gradient_of_a_distance_of_zero_is_zero():
    z = A.clone().requires_grad_()
    (slope,) = torch.autograd.grad(from_labels(z, LABELS, similarity="neg_euclidean").scores.diagonal().sum(), z)
    assert torch.equal(slope, torch.zeros_like(slope))


# ---- errors --------------------------------------------------------------------------------------------------------------------

FLAT, SHORT, NARROW, META, SINGLE, WHOLE = A[0], A[:3], A[:, :2], A.to("meta"), A.float(), torch.ones(4, 3, dtype=torch.long)

ERRORS = [
    # what is called, exception, words of the message
    (lambda: two_views(A.tolist(), B), TypeError, "z1: got list, want a floating-point tensor"),
    (lambda: two_views(WHOLE, B), TypeError, "z1: got dtype torch.int64"),
    (lambda: two_views(FLAT, B), ValueError, r"z1: got shape \(3,\), want 2 dimensions"),
    (lambda: two_views(A, None), TypeError, "z2: got NoneType"),
    (lambda: two_views(A, FLAT), ValueError, r"z2: got shape \(3,\)"),
    (lambda: two_views(A, SHORT), ValueError, "z2: got 3 rows, want 4, as z1 has"),
    (lambda: two_views(A, NARROW), ValueError, "z2: got 2 features, want 3, as z1 has"),
    (lambda: two_views(A, META), ValueError, "z2: got device meta, want cpu, where z1 is"),
    (lambda: two_views(A, SINGLE), TypeError, "z2: got dtype torch.float32, want torch.float64, as z1 has"),
    (lambda: two_views(A, B, similarity="euclidean"), ValueError, "similarity: got 'euclidean'"),
    (lambda: two_views(A, B, similarity=None), ValueError, "similarity: got None"),
    (lambda: views([A]), ValueError, "zs: got 1 views, want a list of two views or more"),
    (lambda: views(A), TypeError, "zs: got Tensor, want a list"),
    (lambda: views([A, B, SHORT]), ValueError, r"zs\[2\]: got 3 rows, want 4, as zs\[0\] has"),
    (lambda: views([A, NARROW]), ValueError, r"zs\[1\]: got 2 features"),
    (lambda: views([WHOLE, A]), TypeError, r"zs\[0\]: got dtype torch.int64"),
    (lambda: views([A, META]), ValueError, r"zs\[1\]: got device meta"),
    (lambda: in_batch(WHOLE, B), TypeError, "query: got dtype torch.int64"),
    (lambda: in_batch(A, FLAT), ValueError, r"key: got shape \(3,\)"),
    (lambda: in_batch(A, SHORT), ValueError, "key: got 3 rows, want 4, as query has"),
    (lambda: in_batch(A, NARROW), ValueError, "key: got 2 features, want 3, as query has"),
    (lambda: in_batch(A, META), ValueError, "key: got device meta"),
    (lambda: in_batch(A, SINGLE), TypeError, "key: got dtype torch.float32"),
    (lambda: in_batch(A, B, FLAT), ValueError, r"hard: got shape \(3,\), want 2 or 3 dimensions"),
    (lambda: in_batch(A, B, [B]), TypeError, "hard: got list"),
    (lambda: in_batch(A, B, NARROW), ValueError, "hard: got 2 features"),
    (lambda: in_batch(A, B, OWN[:3]), ValueError, "hard: got 3 rows, want 4, as query has"),
    (lambda: in_batch(A, B, META), ValueError, "hard: got device meta"),
    (lambda: in_batch(A, B, target=[0, 1, 2, 3]), TypeError, "target: got list, want a tensor of int64"),
    (lambda: in_batch(A, B, target=TARGET.int()), TypeError, "target: got torch.int32"),
    (lambda: in_batch(A, B, target=TARGET[:3]), ValueError, r"target: got shape \(3,\), want \(4,\)"),
    (lambda: in_batch(A, B, target=TARGET.to("meta")), ValueError, "target: got device meta"),
    (lambda: in_batch(A, B, target=TARGET + 2), ValueError, "target: got indices from 2 to 4, want 0 to 3"),
    (lambda: in_batch(A, B, target=TARGET - 1), ValueError, "target: got indices from -1 to 1, want 0 to 3"),
    (lambda: in_batch(A, B, similarity="cos"), ValueError, "similarity: got 'cos'"),
    (lambda: with_queue(FLAT, B, QUEUE), ValueError, r"query: got shape \(3,\)"),
    (lambda: with_queue(A, SHORT, QUEUE), ValueError, "key: got 3 rows, want 4, as query has"),
    (lambda: with_queue(A, B, QUEUE[:, :2]), ValueError, "queue: got 2 features, want 3"),
    (lambda: with_queue(A, B, None), TypeError, "queue: got NoneType"),
    (lambda: with_queue(A, B, QUEUE.float()), TypeError, "queue: got dtype torch.float32"),
    (lambda: with_queue(A, B, QUEUE.to("meta")), ValueError, "queue: got device meta"),
    (lambda: with_queue(A, B, QUEUE, extra=QUEUE), ValueError, r"extra: got shape \(5, 3\), want 3 dimensions"),
    (lambda: with_queue(A, B, QUEUE, extra=OWN[:2]), ValueError, "extra: got 2 rows, want 4, as query has"),
    (lambda: with_queue(A, B, QUEUE, similarity="cos"), ValueError, "similarity: got 'cos'"),
    (lambda: in_batch(A, B, OWN, hard_mask=HARD_MASK.double()), TypeError, "hard_mask: got torch.float64, want a bool tensor"),
    (lambda: in_batch(A, B, OWN, hard_mask=HARD_MASK[:3]), ValueError, r"hard_mask: got shape \(3, 2\), want \(4, 2\), the rows of hard"),
    (lambda: in_batch(A, B, QUEUE, hard_mask=HARD_MASK), ValueError, r"hard_mask: got shape \(4, 2\), want \(5,\), the rows of hard"),
    (lambda: in_batch(A, B, hard_mask=HARD_MASK), ValueError, "hard_mask: got a mask and no hard"),
    (lambda: in_batch(A, B, OWN, hard_mask=HARD_MASK.to("meta")), ValueError, "hard_mask: got device meta, want cpu, where hard is"),
    (lambda: with_queue(A, B, QUEUE, extra_mask=HARD_MASK), ValueError, "extra_mask: got a mask and no extra"),
    (lambda: with_queue(A, B, QUEUE, extra=OWN, extra_mask=HARD_MASK[0]), ValueError, r"extra_mask: got shape \(2,\), want \(4, 2\)"),
    (lambda: cross(A, NARROW, JUDGED), ValueError, "key: got 2 features, want 3, as query has"),
    (lambda: cross(A, QUEUE, JUDGED[:3]), ValueError, r"positives: got shape \(3, 5\), want \(4, 5\), the shape of scores"),
    (lambda: cross(A, QUEUE, JUDGED.int()), TypeError, "positives: got torch.int32, want a bool tensor"),
    (lambda: cross(A, QUEUE, JUDGED, [1]), TypeError, "negatives: got list, want a bool tensor"),
    (lambda: cross(A, QUEUE, JUDGED, weights=JUDGED), TypeError, "weights: got dtype torch.bool"),
    (lambda: join(), ValueError, "pairs: got none, want one or more to join"),
    (lambda: join(in_batch(A, B), A), TypeError, r"pairs\[1\]: got Tensor, want Pairs"),
    (
        lambda: join(in_batch(A, B), in_batch(SHORT, SHORT)),
        ValueError,
        r"pairs\[1\]: got shape \(3, 3\), want 4 queries, as pairs\[0\] has",
    ),
    (lambda: stack(in_batch(A, B), in_batch(SHORT, SHORT)), ValueError, r"pairs\[1\]: got shape \(3, 3\), want 4 keys, as pairs\[0\] has"),
    (lambda: stack(in_batch(A, B), in_batch(SINGLE, SINGLE)), TypeError, r"pairs\[1\].scores: got dtype torch.float32, want torch.float64"),
    (lambda: from_labels(A, LABELS, ignore=1.5), TypeError, "ignore: got float, want a whole number"),
    (lambda: from_labels(WHOLE, LABELS), TypeError, "z: got dtype torch.int64"),
    (lambda: from_labels(A, [0, 1, 0, 2]), TypeError, "labels: got list, want a tensor of integers"),
    (lambda: from_labels(A, LABELS.double()), TypeError, "labels: got torch.float64"),
    (lambda: from_labels(A, LABELS[:3]), ValueError, r"labels: got shape \(3,\), want \(4,\): one label a row of z"),
    (lambda: from_labels(A, LABELS[:, None]), ValueError, r"labels: got shape \(4, 1\)"),
    (lambda: from_labels(A, LABELS.to("meta")), ValueError, "labels: got device meta"),
    (lambda: from_relevance(FLAT, FLAT), ValueError, r"scores: got shape \(3,\)"),
    (lambda: from_relevance(A, A.tolist()), TypeError, "relevance: got list, want a tensor of grades"),
    (lambda: from_relevance(A, NARROW), ValueError, r"relevance: got shape \(4, 2\), want \(4, 3\), the shape of scores"),
    (lambda: from_relevance(A, META), ValueError, "relevance: got device meta"),
    (lambda: from_relevance(A, B, B), TypeError, "mask: got torch.float64, want a bool tensor"),
    (lambda: from_relevance(A, B, NARROW > 0), ValueError, r"mask: got shape \(4, 2\), want \(4, 3\)"),
    (lambda: exclude(in_batch(A, B), WHOLE), TypeError, "mask: got torch.int64, want a bool tensor"),
    (lambda: exclude(in_batch(A, B), A > 0), ValueError, r"mask: got shape \(4, 3\), want \(4, 4\), the shape of scores"),
    (lambda: exclude(in_batch(A, B), [True]), TypeError, "mask: got list"),
    (lambda: exclude(in_batch(A, B), torch.ones(4, 4, dtype=torch.bool, device="meta")), ValueError, "mask: got device meta"),
]


@pytest.mark.parametrize(("wrong", "exception", "words"), ERRORS, ids=[words for _, _, words in ERRORS])
def test_wrong_arguments_are_refused_by_name(wrong, exception, words):
    with pytest.raises(exception, match=words):
        wrong()


# ---- gradients, precision, bits --------------------------------------------------------------------------------------------------

BUILDERS = {
    "two_views": (lambda a, b, c, **k: two_views(a, b, **k)),
    "views": (lambda a, b, c, **k: views([a, b, c], **k)),
    "in_batch": (lambda a, b, c, **k: in_batch(a, b, **k)),
    "in_batch, hard": (lambda a, b, c, **k: in_batch(a, b, c, **k)),
    "in_batch, own hard": (lambda a, b, c, **k: in_batch(a, b, c[:, None], **k)),
    "with_queue": (lambda a, b, c, **k: with_queue(a, b, c, **k)),
    "with_queue, extra": (lambda a, b, c, **k: with_queue(a, b, c, extra=c[:, None], **k)),
    "cross": (lambda a, b, c, **k: cross(a, b, JUDGED[:, :4], **k)),
    "from_labels": (lambda a, b, c, **k: from_labels(a, LABELS, **k)),
}
one_builder = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
one_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)


@one_builder
@one_similarity
def test_gradcheck(build, similarity):
    def scores(*z):  # without the self-pairs, at whose distance of 0 there is no derivative
        pairs = build(*z, similarity=similarity)
        return pairs.scores[pairs.positives | pairs.negatives]

    assert torch.autograd.gradcheck(scores, [x.clone().requires_grad_() for x in (A, B, C)])


@pytest.mark.parametrize("name", ["in_batch", "in_batch, hard", "in_batch, own hard", "with_queue", "with_queue, extra", "cross"])
@one_similarity
def test_detach_key_sends_nothing_into_keys(name, similarity):
    weight = normal(4, 9, seed=8)

    def slopes(detach_key):
        z = [x.clone().requires_grad_() for x in (A, B, C)]
        scores = BUILDERS[name](*z, similarity=similarity, detach_key=detach_key).scores
        return torch.autograd.grad((scores * weight[:, : scores.shape[1]]).sum(), z, allow_unused=True)

    (query, key, other), detached = slopes(False), slopes(True)
    assert key.abs().sum() > 0 and (other is None) == (name in ("in_batch", "cross"))
    assert torch.equal(detached[0], query) and detached[1:] == (None, None)


@pytest.mark.parametrize("name", ["two_views", "views", "from_labels"])
@one_similarity
def test_detach_key_where_queries_are_keys_leaves_the_query_side(name, similarity):
    "The gradient is that of scores between two copies, of which one is held fixed."
    weight = normal(12, 12, seed=8)

    def slope(build):
        z = [x.clone().requires_grad_() for x in (A, B, C)]
        scores = build(*z)
        scores = scores[0] if isinstance(scores, Pairs) else scores
        weights = weight[: len(scores), : len(scores)] * ~torch.eye(len(scores), dtype=torch.bool)
        return torch.autograd.grad((scores * weights).sum(), z, allow_unused=True)

    def two_copies(*z):
        every = torch.cat(z[: {"two_views": 2, "views": 3, "from_labels": 1}[name]])
        return similarity_matrix(every, every.detach(), similarity)

    got, want = slope(functools.partial(BUILDERS[name], similarity=similarity, detach_key=True)), slope(two_copies)
    assert all(g is w is None or torch.allclose(g, w, rtol=1e-12) for g, w in zip(got, want, strict=True))
    both = slope(functools.partial(BUILDERS[name], similarity=similarity))
    assert not torch.allclose(both[0], got[0])


@one_builder
@one_similarity
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_and_given_in_float32(build, similarity, dtype):
    half = [x.to(dtype) for x in (A, B, C)]
    got, want = build(*half, similarity=similarity), build(*(x.double() for x in half), similarity=similarity)
    assert got.scores.dtype == torch.float32
    assert torch.allclose(got.scores.double(), want.scores, rtol=1e-6, atol=1e-6)


def test_a_tiny_half_vector_keeps_its_direction():
    z = (A * 1e-6).half()  # its squares vanish in half precision
    assert torch.allclose(in_batch(z, z).scores.diagonal(), torch.ones(4), atol=1e-5)


@one_builder
@one_similarity
def test_autocast_changes_no_bit(build, similarity):
    single = [x.float() for x in (A, B, C)]
    plain = build(*single, similarity=similarity)
    with torch.autocast("cpu", torch.bfloat16):
        cast = build(*single, similarity=similarity)
    assert cast.scores.dtype == torch.float32 and torch.equal(cast.scores, plain.scores)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_relevance_in_half_precision(dtype):
    pairs = from_relevance(normal(3, 3).to(dtype), RELEVANCE.to(dtype))
    assert pairs.scores.dtype == pairs.weights.dtype == torch.float32


@one_builder
def test_same_input_same_bits_and_no_random_numbers(build):
    inputs = [x.clone() for x in (A, B, C)]
    state = torch.get_rng_state()
    first, second = build(*inputs), build(*inputs)
    assert all(x is y is None or torch.equal(x, y) for x, y in zip(first, second, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(x, y) for x, y in zip(inputs, (A, B, C), strict=True))


def test_scores_of_given_lists_keep_their_gradient_path():
    scores = normal(3, 3).requires_grad_()
    from_relevance(scores, RELEVANCE).scores.sum().backward()
    assert torch.equal(scores.grad, torch.ones(3, 3))


def test_no_items_give_empty_pairs():
    none = A[:0]
    for pairs in (two_views(none, none), in_batch(none, none), with_queue(none, none, QUEUE), from_labels(none, LABELS[:0])):
        assert pairs.scores.shape[0] == 0 and pairs.check() is pairs


# ---- missing keys, empty vectors, more keys, more queries --------------------------------------------------------------------------


@one_similarity
@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("where", ["own", "shared", "extra"])
def test_a_key_that_a_mask_takes_out_reaches_neither_loss_nor_gradient(where, fill, similarity):
    "Queries with 2, 1, 0 and 1 keys of their own: the loss and the slopes are those without the padding, whatever stands there."

    def loss_and_slopes(value):
        keys, mask = (QUEUE, QUEUE_MASK) if where == "shared" else (OWN, HARD_MASK)
        z = [x.clone().requires_grad_() for x in (A, B, torch.where(mask[..., None], keys, value))]
        if where == "extra":
            pairs = with_queue(*z[:2], QUEUE, extra=z[2], extra_mask=mask, similarity=similarity)
        else:
            pairs = in_batch(*z, hard_mask=mask, similarity=similarity)
        loss = info_nce(*pairs.check(), temperature=0.5)
        return loss, torch.autograd.grad(loss, z)

    loss, slopes = loss_and_slopes(fill)
    assert torch.isfinite(loss) and all(torch.isfinite(slope).all() for slope in slopes)
    same, want = loss_and_slopes(1.0)
    assert loss == same and all(torch.equal(*pair) for pair in zip(slopes, want, strict=True))
    assert (slopes[2][~(QUEUE_MASK if where == "shared" else HARD_MASK)] == 0).all() and slopes[2].abs().sum() > 0


def test_queries_with_two_one_and_no_hard_negatives_have_the_losses_of_their_own_lists():
    got = info_nce(*in_batch(A, B, OWN, hard_mask=HARD_MASK), temperature=0.5, reduction="none")
    for i, there in enumerate(HARD_MASK):
        alone = in_batch(A[i : i + 1], B, OWN[i : i + 1, there], target=torch.tensor([i]))
        assert torch.allclose(info_nce(*alone, temperature=0.5), got[i], rtol=1e-13)


def test_exclude_cannot_undo_a_key_that_is_nan():
    query, key = A.clone().requires_grad_(), torch.where(torch.arange(4)[:, None] == 2, math.nan, B)
    pairs = in_batch(query[:2], key, target=torch.tensor([0, 1]))
    loss = info_nce(*exclude(pairs, ~torch.isfinite(pairs.scores)), temperature=0.5)
    assert torch.isfinite(loss) and torch.autograd.grad(loss, query)[0][:2].isnan().all()
    assert "cannot undo a key that is NaN" in exclude.__doc__


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("length", [0.0, 1e-30])
def test_an_embedding_without_a_direction_has_cosine_0_and_no_gradient(dtype, length):
    z = A.to(dtype, copy=True)
    z[1] = length
    z.requires_grad_()
    pairs = two_views(z, B.to(dtype))
    (slope,) = torch.autograd.grad(info_nce(*pairs, temperature=0.1), z)
    assert (pairs.scores[1] == 0).all() and (slope[1] == 0).all()
    assert torch.isfinite(slope).all() and 0 < slope.abs().max() < 100


def test_a_short_embedding_keeps_its_direction_and_a_nan_shows():
    z = A * 1e-9
    assert torch.allclose(in_batch(z, B).scores, in_batch(A, B).scores, rtol=1e-12)
    assert in_batch(A * math.nan, B).scores.isnan().all()
    torch.testing.assert_close(similarity_matrix(A, B), torch.nn.functional.normalize(A) @ torch.nn.functional.normalize(B).T)


def test_labels_of_minus_one_are_a_class_unless_they_are_ignored():
    labels = torch.tensor([0, -1, 0, -1])
    assert from_labels(A, labels).positives[1].tolist() == [False, False, False, True]
    pairs = from_labels(A, labels, ignore=-1)
    assert torch.equal(pairs.positives | pairs.negatives, torch.tensor([[0, 0, 1, 0], [0] * 4, [1, 0, 0, 0], [0] * 4]).bool())
    assert not from_labels(A, torch.full((4,), -1), ignore=-1).negatives.any()


def test_join_puts_keys_side_by_side():
    plain, more = in_batch(A, B), cross(A, QUEUE, JUDGED, REFUSED, normal(4, 5).abs())
    got = join(plain, more, plain)
    for part, a, b in zip(got[:3], plain, more, strict=False):
        assert torch.equal(part, torch.cat([a, b, a], 1))
    assert torch.equal(got.weights, torch.cat([torch.ones(4, 4), more.weights, torch.ones(4, 4)], 1)) and got.check() is got
    shared = join(plain, cross(A, QUEUE, torch.zeros(4, 5, dtype=torch.bool)))
    assert shared.weights is None and all(torch.allclose(a, b) for a, b in zip(shared[:3], in_batch(A, B, QUEUE)[:3], strict=True))


def test_stack_asks_more_queries():
    plain = in_batch(A, B)
    got = stack(plain, flip(plain))
    one, other = (info_nce(*pairs, temperature=0.5) for pairs in (plain, flip(plain)))
    assert got.weights is None and got.scores.shape == (8, 4)
    assert torch.allclose(info_nce(*got, temperature=0.5), (one + other) / 2, rtol=1e-14)
    weighted = stack(plain, plain._replace(weights=plain.scores.abs()))
    assert torch.equal(weighted.weights, torch.cat([torch.ones(4, 4), plain.scores.abs()]))
    assert all(part is None or torch.equal(part, other) for part, other in zip(stack(plain), plain, strict=True))


# ---- exclude, flip, check ----------------------------------------------------------------------------------------------------------


def test_exclude_takes_negatives_out_and_leaves_positives():
    pairs = from_relevance(normal(3, 3), RELEVANCE)
    mask = torch.tensor([[True, True, False]] * 3)
    got = exclude(pairs, mask)
    assert torch.equal(got.negatives, pairs.negatives & ~mask)
    assert all(got[part] is pairs[part] for part in (0, 1, 3))
    assert torch.equal(exclude(got, mask).negatives, got.negatives)


def test_flip_exchanges_queries_and_keys():
    pairs = from_relevance(normal(2, 3), RELEVANCE[:2])
    assert all(torch.equal(part, other.T) for part, other in zip(flip(pairs), pairs, strict=True))
    assert all(torch.equal(part, other) for part, other in zip(flip(flip(pairs)), pairs, strict=True))
    assert flip(in_batch(A, B)).weights is None
    torch.testing.assert_close(flip(in_batch(A, B)).scores, in_batch(B, A).scores)  # to rounding: B A' is another product than (A B')'


@pytest.mark.parametrize(
    ("change", "exception", "words"),
    [
        ({"negatives": torch.ones(4, 4, dtype=torch.bool)}, ValueError, "positives and negatives overlap, first at query 0, key 0"),
        ({"scores": torch.full((4, 4), math.nan)}, ValueError, "scores: not finite, first at query 0, key 0"),
        ({"scores": torch.diag(torch.full((4,), math.inf))}, ValueError, "scores: not finite, first at query 0, key 0"),
        ({"weights": -torch.ones(4, 4)}, ValueError, "weights: got a negative or non-finite weight"),
        ({"weights": torch.full((4, 4), math.nan)}, ValueError, "weights: got a negative or non-finite weight"),
        ({"weights": torch.full((4, 4), math.inf)}, ValueError, "weights: got a negative or non-finite weight"),
        ({"weights": torch.ones(4)}, ValueError, r"weights: got shape \(4,\)"),
        ({"weights": torch.ones(4, 4, dtype=torch.long)}, TypeError, "weights: got dtype torch.int64"),
        ({"positives": torch.eye(4)}, TypeError, "positives: got torch.float32, want a bool tensor"),
        ({"scores": A}, ValueError, r"positives: got shape \(4, 4\), want \(4, 3\)"),
    ],
)
def test_check_finds_wrong_values(change, exception, words):
    with pytest.raises(exception, match=words):
        in_batch(A, B)._replace(**change).check()


def test_check_lets_pass_what_no_one_looks_at():
    pairs = two_views(A, B)
    itself = torch.eye(8, dtype=torch.bool)
    odd = pairs._replace(scores=torch.where(itself, math.nan, pairs.scores), weights=torch.where(itself, -1.0, 0.0))
    assert odd.check() is odd


# ---- properties ------------------------------------------------------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
few = settings(max_examples=25, deadline=None)


@few
@given(sizes, st.integers(2, 4), st.sampled_from(SIMILARITIES))
def test_views_are_symmetric_disjoint_and_leave_out_only_self_pairs(size, count, similarity):
    n, d, seed = size
    pairs = views([normal(n, d, seed=seed + i) for i in range(count)], similarity=similarity).check()
    assert torch.allclose(pairs.scores, pairs.scores.T, atol=1e-12)
    assert torch.equal(pairs.positives ^ pairs.negatives, ~torch.eye(n * count, dtype=torch.bool))
    assert (pairs.positives.sum(1) == count - 1).all()


@few
@given(sizes, st.integers(0, 3), st.integers(0, 3))
def test_one_positive_a_query_and_the_rest_negative(size, hard, own):
    n, d, seed = size
    q, k, shared, mine = (normal(*s, seed=seed + i) for i, s in enumerate([(n, d), (n, d), (hard, d), (n, own, d)]))
    for pairs in (in_batch(q, k), in_batch(q, k, shared), in_batch(q, k, mine), with_queue(q, k, shared, extra=mine)):
        pairs.check()
        assert (pairs.positives.sum(1) == 1).all() and torch.equal(pairs.negatives, ~pairs.positives)
    assert torch.equal(in_batch(q, k, target=torch.arange(n)).positives, in_batch(q, k).positives)
    own_score = (torch.nn.functional.normalize(q, dim=1) * torch.nn.functional.normalize(k, dim=1)).sum(1)
    assert torch.allclose(with_queue(q, k, shared).scores[:, 0], own_score, atol=1e-12)


@few
@given(st.lists(st.integers(-2, 2), min_size=1, max_size=7), st.integers(0, 10**6))
def test_labels_make_three_kinds_of_pairs(labels, seed):
    labels = torch.tensor(labels)
    pairs = from_labels(normal(len(labels), 3, seed=seed), labels).check()
    kinds = pairs.positives.int() + pairs.negatives.int() + torch.eye(len(labels), dtype=torch.int)
    assert (kinds == 1).all() and torch.equal(pairs.positives, pairs.positives.T)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(from_labels(normal(len(labels), 3), labels[order]).positives, pairs.positives[order][:, order])


@few
@given(sizes)
def test_cosine_does_not_see_lengths(size):
    n, d, seed = size
    a, b = normal(n, d, seed=seed), normal(n, d, seed=seed + 1)
    scale = torch.rand(n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    assert torch.allclose(two_views(a * scale, b).scores, two_views(a, b).scores, atol=1e-12)
    assert two_views(a, b).scores.abs().max() <= 1 + 1e-12
