"Learning in stages: groups hold what all stages found, stages stand side by side and stay as they are."

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from contrastive_nb.encoders import Encoder
from contrastive_nb.negatives import by_group
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import exclude, in_batch
from contrastive_nb.selfsup import Stages, feature_groups


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def clumps(each=20, seed=0):
    "Three clumps about three axes, and whose each point is."
    y = torch.arange(3).repeat_interleave(each)
    return torch.eye(3, dtype=torch.float64)[y] + 0.05 * torch.randn(len(y), 3, generator=dice(seed), dtype=torch.float64), y


def same(groups):
    return groups[:, None] == groups


def test_groups_are_the_clumps_whatever_the_lengths():
    z, y = clumps()
    scaled = z * (0.1 + 10 * torch.rand(len(z), 1, generator=dice(), dtype=torch.float64))
    assert torch.equal(same(feature_groups(z, 3)), same(y))
    assert torch.equal(same(feature_groups(scaled, 3)), same(y))


def test_within_keeps_what_was_found_before():
    z, y = clumps()
    old = torch.arange(len(z)) % 2
    groups = feature_groups(z, 3, within=old)
    assert torch.equal(same(groups), same(old) & same(y)) and groups.unique().tolist() == list(range(6))
    assert torch.equal(same(feature_groups(z, 3, within=7 - 3 * old)), same(groups))  # numbers are names


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision(dtype):
    z, y = clumps()
    assert torch.equal(same(feature_groups(z.to(dtype), 3)), same(y))


def test_no_gradient_and_the_same_again():
    z, _ = clumps()
    one, again = (feature_groups(z.clone().requires_grad_(), 5, seed=3) for _ in range(2))
    assert torch.equal(one, again) and one.dtype == torch.long


def test_every_batch_has_one_group():
    z, _ = clumps()
    groups = feature_groups(z, 3, within=torch.arange(len(z)) % 2)
    deal, generator = by_group(groups, 5), dice()
    batches = [deal(generator) for _ in range(len(deal))]
    assert len(batches) == 12 and all(len(groups[rows].unique()) == 1 for rows in batches)


def test_one_group_a_batch_is_the_loss_without_the_others():
    z1, z2 = torch.randn(2, 12, 4, generator=dice(), dtype=torch.float64)
    groups = torch.arange(12) % 3
    whole = info_nce(*exclude(in_batch(z1, z2), ~same(groups)), temperature=0.2)
    parts = [info_nce(*in_batch(z1[groups == g], z2[groups == g]), temperature=0.2) for g in range(3)]
    assert abs(whole - sum(parts) / 3) < 1e-10
    one = feature_groups(z1, 1)
    plain = info_nce(*in_batch(z1, z2), temperature=0.2)
    assert abs(info_nce(*exclude(in_batch(z1, z2), ~same(one)), temperature=0.2) - plain) < 1e-10


def test_the_cosine_is_the_mean_of_the_stages():
    first, second = nn.Linear(4, 3).double(), nn.Linear(4, 6).double()
    x, y = torch.randn(2, 9, 4, generator=dice(), dtype=torch.float64)
    each = [F.cosine_similarity(part(x), part(y)) for part in (first, second)]
    both = Stages(first).add(second)
    assert torch.allclose(F.cosine_similarity(both(x), both(y)), sum(each) / 2, rtol=0, atol=1e-10)
    assert torch.allclose(both(x).norm(dim=1), torch.full((9,), 2.0, dtype=torch.float64).sqrt(), rtol=0, atol=1e-10)


def test_frozen_stays_frozen():
    encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    stages, x = Stages(encoder), torch.randn(9, 4, generator=dice())
    before = stages(x)
    stages.train()
    assert torch.equal(stages(x), before) and int(encoder[1].num_batches_tracked) == 0
    assert not any(p.requires_grad for p in encoder.parameters()) and not encoder.training


def test_of_an_encoder_the_features_are_taken():
    encoder = Encoder(nn.Linear(4, 5), nn.Linear(5, 2))
    x = torch.randn(3, 4, generator=dice())
    assert torch.equal(Stages(encoder)(x), Stages(encoder.backbone)(x)) and Stages(encoder)(x).shape == (3, 5)


def test_state_is_kept():
    one, other = (Stages(nn.Linear(4, 3), nn.Linear(4, 2)) for _ in range(2))
    other.load_state_dict(one.state_dict())
    x = torch.randn(3, 4, generator=dice())
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize(
    "named, call",
    [
        ("count", lambda z: feature_groups(z, len(z) + 1)),
        ("count", lambda z: feature_groups(z, 0)),
        ("z", lambda z: feature_groups(z / 0, 2)),
        ("z", lambda z: feature_groups(z[0], 2)),
        ("within", lambda z: feature_groups(z, 2, within=torch.zeros(2).long())),
        ("within", lambda z: feature_groups(z, 2, within=z[:, 0])),
        ("seed", lambda z: feature_groups(z, 2, seed=-1)),
        ("encoders", lambda z: Stages()),
        ("encoder", lambda z: Stages(torch.relu)),
    ],
)
def test_bad_input_is_named(named, call):
    with pytest.raises((TypeError, ValueError), match=f"^{named}:"):
        call(clumps()[0])
