"""Scenes: masks, boxes, classes, captions and crops say what is on the canvas, pixel by pixel."""

import itertools

import pytest
import torch

from contrastive_nb import data, scenes


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- textures and pasting -----------------------------------------------------------------------------------------------------------


def test_textures_fill_their_range_and_a_finer_grid_is_rougher():
    coarse, fine = scenes.textures(50, 24, seeded()), scenes.textures(50, 24, seeded(), grid=13)
    for x in (coarse, fine):
        torch.testing.assert_close(x.amin((1, 2)), torch.zeros(50))
        torch.testing.assert_close(x.amax((1, 2)), torch.full((50,), 0.8))
    rough = [(x[:, 1:] - x[:, :-1]).abs().mean() for x in (coarse, fine)]
    assert rough[1] > 1.5 * rough[0]


def test_pasting_is_the_formula_pixel_by_pixel():
    background, pictures = torch.rand(3, 7, 9, generator=seeded()), torch.rand(3, 2, 2, 3, generator=seeded(1))
    pictures[0, 0, 0, 0] = 0
    top, left = torch.tensor([[0, 5], [1, 4], [2, 3]]), torch.tensor([[6, 0], [0, 5], [3, 3]])
    there = torch.tensor([[True, True], [True, False], [True, True]])
    for given in (None, there):
        canvas, masks = scenes.paste(background, pictures, top, left, given)
        for n, i, j in itertools.product(range(3), range(7), range(9)):
            seen = []
            for m in range(2):
                r, c = i - top[n, m].item(), j - left[n, m].item()
                inside = 0 <= r < 2 and 0 <= c < 3 and (given is None or there[n, m])
                seen += [pictures[n, m, r, c].item()] if inside else []
                assert masks[n, m, i, j].item() == (inside and seen[-1] > 0)
            b = background[n, i, j].item()
            assert abs(canvas[n, i, j].item() - ((max(b, *seen) + max(seen)) / 2 if seen else b)) < 1e-6


@pytest.mark.parametrize("top, left, name", [(6, 0, "top"), (-1, 0, "top"), (0, 6, "left"), (0, -2, "left")])
def test_a_picture_that_would_stick_out_is_refused(top, left, name):
    with pytest.raises(ValueError, match=f"{name}: got .*, want 0 to 5"):
        scenes.paste(torch.zeros(1, 8, 8), torch.ones(1, 1, 3, 3), torch.tensor([[top]]), torch.tensor([[left]]))


# --- canvases -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objects", [1, 3, (1, 5)])
def test_every_truth_of_a_canvas_agrees_with_its_source(objects):
    world = scenes.canvases(1, number=60, objects=objects, kinds=2)
    low, high = objects if isinstance(objects, tuple) else (objects, objects)
    there = world.rows >= 0
    assert world.x.min() >= 0 and world.x.max() <= 1 and world.classes.shape == (60, high)
    assert low <= there.sum(1).min() and there.sum(1).max() <= high
    assert torch.equal(there, world.classes >= 0) and torch.equal(there, world.masks.flatten(2).any(2))
    for n, m in there.nonzero().tolist():
        t, l, b, r = world.boxes[n, m].tolist()
        picture = world.source.x[world.rows[n, m], 0]
        assert world.classes[n, m] == world.source.y[world.rows[n, m]]
        assert torch.equal(world.masks[n, m, t:b, l:r], picture > 0) and world.masks[n, m].sum() == (picture > 0).sum()
        assert (world.x[n, 0, t:b, l:r] >= picture - 1e-6).all()  # half of max(b, x), and half of x
    assert not world.boxes[~there].any() and not (world.masks.sum(1) > 1).any()


def test_boxes_of_one_canvas_do_not_overlap_and_places_are_all_used():
    world = scenes.canvases(2, number=400, objects=4)
    for a in range(4):
        for b in range(a):
            assert not scenes.overlap(world.boxes[:, a], world.boxes[:, b]).any()
    alone = scenes.canvases(2, number=900).boxes[:, 0]
    assert set(alone[:, 0].tolist()) == set(alone[:, 1].tolist()) == set(range(9))
    assert alone[:, 0].bincount().min() > 60  # 100 expected


def test_every_picture_is_used_as_often_as_any_other():
    pictures = data.Images(torch.rand(7, 1, 4, 4, generator=seeded()), torch.arange(7) % 3)
    world = scenes.canvases(number=14, pictures=pictures, objects=2)
    assert world.rows.flatten().bincount(minlength=7).tolist() == [4] * 7 and world.names == ("0", "1", "2")


def test_parts_share_no_picture():
    parts = [{p.numpy().tobytes() for p in scenes.canvases(5, number=4, part=part).source.x} for part in ("train", "valid", "test")]
    train, valid, test = parts
    assert not (train & test) and not (train & valid) and not (valid & test)


def test_labels_and_captions_say_what_is_there():
    world = scenes.canvases(3, number=50, objects=(1, 4))
    for n, (classes, caption) in enumerate(zip(world.classes.tolist(), world.captions, strict=True)):
        here = [c for c in classes if c >= 0]
        assert world.labels[n].nonzero()[:, 0].tolist() == sorted(set(here))
        said = sorted(part.split()[1] for part in caption.split(", "))
        assert said == sorted(world.names[c] for c in here)
        places = [part.split(" at the ")[1] for part in caption.split(", ")]
        assert places == sorted(places, key=["top left", "top right", "bottom left", "bottom right"].index)
    one = scenes.canvases(3, number=200)
    for (t, l, b, r), caption in zip(one.boxes[:, 0].tolist(), one.captions, strict=True):
        assert ("bottom" in caption) == ((t + b) / 2 >= 8) and ("right" in caption) == ((l + r) / 2 >= 8)
    assert any(caption.startswith("an eight at") for caption in one.captions)


def test_the_same_things_once_more():
    world = scenes.canvases(4, number=40, objects=(1, 2), kinds=3)
    again = world.again(seeded(1))
    assert torch.equal(again.rows, world.rows) and torch.equal(again.classes, world.classes) and torch.equal(again.texture, world.texture)
    assert not torch.equal(again.boxes, world.boxes) and not torch.equal(again.x, world.x)
    assert torch.equal(again.x, world.again(seeded(1)).x)
    few = world.take(torch.tensor([3, 0]))
    assert (
        torch.equal(few.x, world.x[[3, 0]]) and few.captions == [world.captions[3], world.captions[0]] and len(few.again(seeded()).x) == 2
    )


def test_a_seed_is_a_set_of_canvases():
    one, again, other = scenes.canvases(1, number=9), scenes.canvases(1, number=9), scenes.canvases(2, number=9)
    assert torch.equal(one.x, again.x) and not torch.equal(one.x, other.x)
    state = torch.get_rng_state()
    scenes.canvases(1, number=9).again(seeded())
    assert torch.equal(state, torch.get_rng_state())


def test_kinds_of_texture_are_drawn_and_differ():
    blank = data.Images(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.long))
    world = scenes.canvases(pictures=blank, number=200, side=24, kinds=2)
    rough = (world.x[:, 0, 1:] - world.x[:, 0, :-1]).abs().mean((1, 2))
    assert rough[world.texture == 1].mean() > 1.3 * rough[world.texture == 0].mean() and world.texture.bincount().min() > 60


def test_clothes_are_twelve_pixels_wide():
    if not data.available("fashion_mnist"):
        pytest.skip("fashion_mnist is in no folder here and there is no network: set CONTRASTIVE_NB_DATA to a folder that has it")
    world = scenes.canvases(number=5, pictures="clothes", part="test")
    assert world.x.shape == (5, 1, 20, 20) and world.source.x.shape[1:] == (1, 12, 12) and world.names[9] == "ankle boot"


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(number=0), ValueError, "number: got 0"),
        (dict(pictures="cars"), ValueError, "pictures: got 'cars'"),
        (dict(pictures=torch.zeros(2, 1, 8, 8)), TypeError, "pictures: got Tensor, want 'digits', 'clothes' or data.Images"),
        (dict(pictures=data.Images(torch.zeros(2, 3, 8, 8), torch.zeros(2))), ValueError, r"pictures: got shape \(2, 3, 8, 8\)"),
        (dict(part="dev"), ValueError, "part: got 'dev'"),
        (dict(objects=0), ValueError, "objects: got 0"),
        (dict(objects=(3, 1)), ValueError, "objects: got 1"),
        (dict(side=7), ValueError, "side: got 7"),
        (dict(objects=2, side=15), ValueError, "side: got 15"),
        (dict(kinds=4), ValueError, "kinds: got 4"),
        (dict(seed=-1), ValueError, "seed: got -1"),
    ],
)
def test_canvases_that_cannot_be_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        scenes.canvases(**arguments)


# --- crops ---------------------------------------------------------------------------------------------------------------------------


def test_a_crop_is_the_piece_in_its_box():
    x = torch.rand(6, 3, 9, 11, generator=seeded())
    views, boxes = scenes.crops(x, seeded(1), side=4, number=5)
    assert views.shape == (6, 5, 3, 4, 4)
    for n in range(6):
        for v, (t, l, b, r) in enumerate(boxes[n].tolist()):
            assert torch.equal(views[n, v], x[n, :, t:b, l:r])


def test_crops_come_from_all_places():
    _, boxes = scenes.crops(torch.zeros(2000, 1, 6, 7), seeded(2), side=4, number=1)
    assert boxes[:, 0, 0].bincount().min() > 550 and boxes[:, 0, 1].bincount().min() > 400 and boxes[..., 2:].max() <= 7


def test_overlap_counts_pixels():
    draw = torch.randint(0, 8, (300, 2, 4), generator=seeded(3))
    boxes = torch.cat([draw[..., :2], draw[..., :2] + 1 + draw[..., 2:] % 5], -1)

    def pixels(box):
        t, l, b, r = box.tolist()
        return {(i, j) for i in range(t, b) for j in range(l, r)}

    want = [len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for a, b in boxes]
    torch.testing.assert_close(scenes.overlap(boxes[:, 0], boxes[:, 1]), torch.tensor(want))
    assert scenes.overlap(boxes[:, :1], boxes[None, :, 0]).shape == (300, 300) and scenes.overlap(torch.zeros(4), torch.zeros(4)) == 0
    pixel = torch.tensor([3, 4, 4, 5])
    assert scenes.overlap(pixel, pixel) == 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: scenes.crops(x, seeded(), side=9), "side: got 9"),
        (lambda x: scenes.crops(x, seeded(), number=0, side=2), "number: got 0"),
        (lambda x: scenes.cut(x, torch.zeros(3, 1, 4, dtype=torch.long)), r"boxes: got shape \(3, 1, 4\), want \(2, V, 4\)"),
        (lambda x: scenes.cut(x, torch.tensor([[[0, 0, 2, 3]], [[0, 0, 2, 2]]])), r"boxes: got sides \[2, 3\]"),
        (lambda x: scenes.cut(x, torch.tensor([[[0, 7, 2, 9]], [[0, 0, 2, 2]]])), "boxes: got sides"),
        (lambda x: scenes.overlap(torch.zeros(3), torch.zeros(4)), r"one: got \(3,\), want boxes"),
        (lambda x: scenes.textures(1, 4, seeded(), grid=5), "grid: got 5"),
    ],
)
def test_crops_that_cannot_be_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 1, 8, 8))
