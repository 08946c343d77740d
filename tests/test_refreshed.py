"Negatives that are replaced once they have fallen: the rule, what comes in, new searches, empty places, checkpoints, wrong input."

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.negatives import Refreshed, faded

LISTS = torch.tensor([[0, 1, 2, 3, 4], [5, 4, 3, 2, 1]])


def always(first, now):
    return torch.ones_like(now, dtype=torch.bool)


def never(first, now):
    return torch.zeros_like(now, dtype=torch.bool)


def places(seed, queries=2, documents=6, dim=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(queries, dim, generator=generator), torch.randn(documents, dim, generator=generator)


def test_the_rule_on_both_sides_of_its_borders():
    first = torch.tensor([0.6, 0.6, 0.95, -0.5, torch.nan])
    now = torch.tensor([0.53, 0.52, 0.81, -0.45, 0.0])
    assert faded(first, now).tolist() == [False, True, False, True, False]
    assert faded(first, now, factor=1.1).tolist() == [True, True, False, False, False]  # less of a fall is asked for
    assert faded(first, now, bar=0.9).tolist() == [False, True, True, True, False]


def test_scores_are_cosines_of_what_is_held():
    query, document = places(0)
    held = Refreshed(torch.tensor([[0, 1], [5, -1]]), n=2).scores(3 * query, 2 * document)
    assert torch.allclose(held[0], F.cosine_similarity(query[:1], document[:2]))
    assert held[1, 1].isnan()


def test_the_first_look_only_notes():
    query, document = places(0)
    keep = Refreshed(LISTS, n=2, rule=always)
    assert not keep.update(query, document).any() and torch.equal(keep.table, LISTS[:, :2])
    assert torch.equal(keep.first, keep.scores(query, document))


def test_the_list_is_read_on_and_left_when_it_ends():
    keep = Refreshed(LISTS, n=2, rule=always)
    tables = [(keep.update(*places(i)), keep.table.tolist())[1] for i in range(4)]
    assert tables == [[[0, 1], [5, 4]], [[2, 3], [3, 2]], [[4, 3], [1, 2]], [[4, 3], [1, 2]]]
    assert keep.read.tolist() == [5, 5]


def test_only_what_has_fallen_goes_and_what_comes_is_measured_at_once():
    document = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.4], [0.4, 1.0], [0.0, 1.0]]), dim=1)
    keep = Refreshed(torch.tensor([[0, 1, 2, 3]]), n=2)
    keep.update(torch.tensor([[1.0, 0.1]]), document)
    turned = torch.tensor([[1.0, 0.9]])
    assert keep.update(turned, document).tolist() == [[True, False]]
    assert keep.table.tolist() == [[2, 1]]
    assert torch.allclose(keep.first[0, 0], F.cosine_similarity(turned, document[2:3]).squeeze())
    assert keep.first[0, 1] > keep.scores(turned, document)[0, 1]  # that of one that stays is the old one


def test_a_new_search_is_read_from_its_top_without_what_stays():
    keep = Refreshed(LISTS, n=2, rule=lambda first, now: torch.tensor([[True, False], [True, True]]))
    keep.update(*places(0))
    new = torch.tensor([[1, 0, 5, 2, 3], [4, 5, 0, 1, 2]])
    keep.update(*places(1), new)
    assert keep.table.tolist() == [[0, 1], [4, 5]]  # 1 stays where it was and is not taken twice; what went may come back
    keep.update(*places(2))
    assert keep.table.tolist() == [[5, 1], [0, 1]]


def test_empty_places_are_filled_by_a_search_and_by_nothing_else():
    keep = Refreshed(torch.tensor([[3, -1, -1], [0, 1, 2]]), n=2, rule=never)
    assert not keep.update(*places(0)).any() and keep.table[0].tolist() == [3, -1]
    filled = keep.update(*places(0), torch.tensor([[3, 4, 5], [0, 1, 2]]))
    assert filled.tolist() == [[False, True], [False, False]] and keep.table[0].tolist() == [3, 4]
    assert not keep.first.isnan().any()


def test_it_goes_into_a_checkpoint_and_on_from_there():
    one, other = (Refreshed(LISTS, n=2, rule=partial(faded, factor=1.01)) for _ in range(2))
    for i in range(3):
        one.update(*places(i))
    other.load_state_dict(one.state_dict())
    for i in range(3, 6):
        assert torch.equal(one.update(*places(i)), other.update(*places(i)))
    assert torch.equal(one.table, other.table) and not torch.equal(one.table, LISTS[:, :2])


def test_the_list_that_was_given_is_not_touched():
    given = LISTS.clone()
    keep = Refreshed(given, n=2, rule=always)
    for i in range(3):
        keep.update(*places(i), given.flip(1))
    assert torch.equal(given, LISTS)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("ranked", lambda keep: Refreshed(LISTS.float())),
        ("ranked", lambda keep: Refreshed(LISTS[0])),
        ("ranked", lambda keep: Refreshed([[0, 1]])),
        ("n", lambda keep: Refreshed(LISTS, n=6)),
        ("n", lambda keep: Refreshed(LISTS, n=0)),
        ("rule", lambda keep: Refreshed(LISTS, rule=1.15)),
        ("query", lambda keep: keep.update(places(0)[0][:1], places(0)[1])),
        ("document", lambda keep: keep.update(places(0)[0], places(0)[1][:5])),
        ("document", lambda keep: keep.update(places(0)[0], places(0)[1][:, :2])),
        ("ranked", lambda keep: keep.update(*places(0), LISTS[:, :3])),
        ("now", lambda keep: faded(torch.zeros(3), torch.zeros(2))),
        ("first", lambda keep: faded(torch.zeros(3).long(), torch.zeros(3))),
        ("factor", lambda keep: faded(torch.zeros(3), torch.zeros(3), factor=0.9)),
        ("bar", lambda keep: faded(torch.zeros(3), torch.zeros(3), bar=0.0)),
    ],
)
def test_wrong_input_is_named_and_changes_nothing(name, call):
    keep = Refreshed(LISTS, n=2)
    keep.update(*places(0))
    before = {key: x.clone() for key, x in keep.state_dict().items()}
    with pytest.raises((TypeError, ValueError), match=f"^{name}: "):
        call(keep)
    assert all(torch.equal(x, before[key]) for key, x in keep.state_dict().items())
