"""Numbers that official code returns, beside ours: value, norm of the gradient, and its sum with given signs, in float64.

The points are a formula, so that nothing has to be stored. Each number names its repository and commit.
"""

import pytest
import torch
from torch import Tensor

from contrastive_nb.debiasing import debiased_nce
from contrastive_nb.debiasing.debiased import _true_negatives
from contrastive_nb.negatives import batch_hard, hard_nce
from contrastive_nb.objectives import cacr, groco, supcon, triplet
from contrastive_nb.pairs import Pairs, from_labels, in_batch, two_views, views


def known_points(*shape: int) -> Tensor:
    place = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(1 + place**2 / 7).reshape(shape).requires_grad_()


def numbers(loss: Tensor, points: Tensor) -> list[float]:
    "What is compared: the loss, the gradient's norm, and the gradient weighed by cosines of its places."
    (slope,) = torch.autograd.grad(loss, points)
    signs = torch.cos(torch.arange(slope.numel(), dtype=torch.float64)).reshape(slope.shape)
    return [loss.item(), slope.norm().item(), (slope * signs).sum().item()]


# JegZheng/CACR-SSL at fbc9d94810cf55c8461ed86a60e48e70e14acbbe, small_scale_experiments/losses: our_loss1 + our_loss2, 6 items of 4 numbers
CACR = [
    (2, {"tau_neg": 0.9}, [0.6341867023177354, 1.4083356548438737, -1.7239969882581239]),
    (3, {"tau_neg": 2.0}, [1.9682477596072783, 0.7391747212693289, -1.1388091316314402]),
    (4, {"alpha": 0.7, "beta": 1.3, "tau_pos": 3.0, "tau_neg": 5.0}, [1.4391082162940312, 0.6636569998062264, 0.1898174521207159]),
    (3, {"tau_pos": 0.0, "tau_neg": 0.0}, [0.33157316252478597, 0.4398940878173263, -0.5206383526306172]),  # their choice "none"
]


@pytest.mark.parametrize("count, options, theirs", CACR)
def test_cacr_pairs_one_view_with_one_view(count, options, theirs):
    points = known_points(count, 6, 4)
    pull = cacr(*views(list(points)), **options | {"beta": 0.0})
    across = [in_batch(points[x], points[y]) for x in range(count) for y in range(x + 1, count)]
    push = sum(cacr(*pairs, **options | {"alpha": 0.0}) for pairs in across) / len(across)
    assert numbers(pull + push, points) == pytest.approx(theirs, rel=1e-11)


# ninatu/learning_by_sorting at 47c074ea9c6c1afe02761bbddfdcd5e61d61ee6f with Felix-Petersen/diffsort at
# 5c417ea1e29af3c6e6a1afeef61a7dacca069031: GroCo, its casts to float32 taken out, 12 items of 4 numbers
GROCO = [
    (2, 10, 1.0, True, [0.21278923963073343, 0.004978693087603192, -0.001492602171255806]),
    (2, 10, 1.0, False, [0.21278923963073343, 0.009284882063706939, -0.0033621563396327584]),
    (2, 5, 4.0, True, [0.5517945255868266, 0.0444187691881641, 0.015215229643877951]),
    (2, 5, 4.0, False, [0.5517945255868266, 0.08153114305876814, 0.025754213638718614]),
    (3, 6, 1.0, True, [0.3744299559876216, 0.008823805795517673, -0.0009524735615109589]),
    (3, 6, 1.0, False, [0.3744299559876216, 0.015715672692354566, -0.003680529991158155]),
]


@pytest.mark.parametrize("count, top_k, steepness, stopped, theirs", GROCO)
def test_groco_takes_negatives_from_the_same_view(count, top_k, steepness, stopped, theirs):
    points = known_points(count, 12, 4)
    pairs = views(list(points), detach_key=stopped)
    view = torch.arange(count).repeat_interleave(12)
    pairs = Pairs(pairs.scores, pairs.positives, pairs.negatives & (view[:, None] == view))
    loss = groco(*pairs, top_k=top_k, steepness=steepness)
    assert numbers(loss, points) == pytest.approx(theirs, rel=1e-11)


# HobbitLong/SupContrast at 66a8fe53880d6a1084b2e4e0db0a019024d6d41a, losses.py: SupConLoss(T) with its base temperature of 0.07
SUPCONTRAST = [
    (0.07, [9.574105655093522, 4.414001488641004, -1.3258303362710753]),
    (0.1, [9.72297315068083, 4.406022222984261, -1.4427828693559333]),
    (0.5, [17.53119684728165, 3.546633359968898, -1.1461881029830496]),
]
SIX = torch.tensor([0, 0, 0, 1, 1, 2]).repeat(2)  # six items in two views


@pytest.mark.parametrize("temperature, theirs", SUPCONTRAST)
def test_supcon_out_times_its_authors_factor(temperature, theirs):
    points = known_points(12, 5)
    loss = supcon(*from_labels(points, SIX), temperature=temperature) * temperature / 0.07
    assert numbers(loss, points) == pytest.approx(theirs, rel=1e-11)


# vturrisi/solo-learn at 9187ea39c2c3f43c455ab06664d2b019a9802954, solo/losses/simclr.py: the sum inside the logarithm, not the mean
SOLO = [
    (0.07, [3.9131392510066036, 3.7839261032996188, 5.418437537793192]),
    (0.5, [1.0932711482751687, 0.4397309093969624, 0.16911076626686708]),
]


@pytest.mark.parametrize("temperature, theirs", SOLO)
def test_supcon_in_without_the_log_of_the_number_of_positives(temperature, theirs):
    points = known_points(12, 5)
    pairs = from_labels(points, SIX)
    loss = supcon(*pairs, temperature=temperature, form="in") - pairs.positives.sum(1).double().log().mean()
    assert numbers(loss, points) == pytest.approx(theirs, rel=1e-11)


# CoinCheung/triplet-reid-pytorch at b32f5df1084c70aeceb5084001f242dce31d0ebb: BatchHardTripletSelector and TripletLoss(None);
# with a margin it calls torch's loss, which adds 1e-6 to each coordinate's difference
BATCH_HARD = [
    (None, 1e-11, [1.505712035093879, 0.564920233387653, -0.736787102562164]),
    (0.3, 1e-5, [1.5389907784413708, 0.7387638463218563, -0.9801739193040319]),
]


@pytest.mark.parametrize("margin, tolerance, theirs", BATCH_HARD)
def test_batch_hard_on_four_people_with_three_pictures_each(margin, tolerance, theirs):
    points = known_points(12, 5)
    pairs = from_labels(points, torch.arange(4).repeat_interleave(3), similarity="neg_euclidean")
    assert numbers(triplet(*batch_hard(pairs), margin=margin), points) == pytest.approx(theirs, rel=tolerance)


# chingyaoc/DCL at 7d6345f6a2e4e2615e63f39966ad0dad3f54f954, main.py, the lines of the loss: 8 items of 5 numbers in two views;
# prior, temperature, queries held at the floor
DEBIASED = [
    (0.0, 0.5, 0, [1.5394942969837047, 0.2981428584158445, 0.3183554210281045]),
    (0.05, 0.5, 0, [1.4141374329183876, 0.3532077110001711, 0.3800349850582715]),
    (0.1, 0.5, 0, [1.252788203613071, 0.43393329043938467, 0.47211047242613413]),
    (0.1, 0.2, 7, [0.4818256958058404, 0.7606880855122279, 0.6167754817180324]),
    (0.3, 0.2, 16, [0.0013248677794247985, 0.0014289205378872404, 3.9663497619763324e-05]),
    (0.3, 0.5, 14, [0.3120503870614144, 0.4524830646273988, 0.23424484522155678]),
]


@pytest.mark.parametrize("prior, temperature, held, theirs", DEBIASED)
def test_debiased_on_two_views(prior, temperature, held, theirs):
    points = known_points(2, 8, 5)
    pairs = two_views(points[0], points[0] + 0.5 * points[1])
    assert numbers(debiased_nce(*pairs, temperature=temperature, prior=prior), points) == pytest.approx(theirs, rel=1e-11)
    at_floor = _true_negatives(*pairs[:3], None, temperature, prior, -1.0)[1]
    assert at_floor.sum() == held


# joshr17/HCL at 7b4647fac271c78a2a9d619fe3f2929ecfaf33df, image/main.py, criterion(estimator="hard") on normalised rows: 8 items of 5
# numbers in two views; prior, temperature, concentration. Its weights are not detached: the gradients say so
HARD = [
    (0.0, 0.5, 0.0, [1.5394942969837047, 0.2981428584158445, 0.3183554210281045]),
    (0.1, 0.5, 0.0, [1.252788203613071, 0.43393329043938467, 0.47211047242613413]),
    (0.0, 0.5, 1.0, [2.1946743791133856, 0.39759304208532004, 0.29963703302205524]),
    (0.1, 0.5, 0.5, [1.7547521220717583, 0.4507290846417355, 0.49985496144040087]),
    (0.1, 0.5, 1.0, [2.11050975978524, 0.48232685027141375, 0.3539666862259617]),
    (0.1, 0.5, 2.0, [2.445292957399642, 0.49354626418211384, 0.13854141354457983]),
    (0.1, 0.2, 1.0, [2.3291889145367097, 1.1957484695303142, 0.37882198879548346]),
    (0.3, 0.5, 6.0, [2.5993016620607943, 0.6029950132097152, 0.3365814554392035]),
]


@pytest.mark.parametrize("prior, temperature, concentration, theirs", HARD)
def test_hard_on_two_views(prior, temperature, concentration, theirs):
    points = known_points(2, 8, 5)
    pairs = two_views(points[0], points[0] + 0.5 * points[1])
    loss = hard_nce(*pairs, temperature=temperature, prior=prior, concentration=concentration)
    assert numbers(loss, points) == pytest.approx(theirs, rel=1e-11)
