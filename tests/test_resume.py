"""A training that is taken up ends in the bits of the unbroken one, whatever remembers: samplers, queues, clocks, optimisers, turns."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from contrastive_nb import checkpoints
from contrastive_nb.encoders import Encoder, mlp_encoder, projector, seeded
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import in_batch, two_views, with_queue
from contrastive_nb.training import Clock, Momentum, Queue, alternate, fit

ITEMS = torch.rand(60, 6, generator=torch.Generator().manual_seed(0))
STEPS = 15


def make(seed=0):
    return seeded(seed, lambda: Encoder(nn.Sequential(mlp_encoder(6, 8, 12), nn.Dropout(0.2)), projector(8, 8, 4)))


def two(x, generator):
    return tuple(x + 0.1 * torch.randn(x.shape, generator=generator) for _ in range(2))


def sample(generator):
    return two(ITEMS[torch.randint(len(ITEMS), (16,), generator=generator)], generator)


def build(model, a, b):
    return two_views(model(a), model(b))


LOSS = partial(info_nce, temperature=0.5)


class Passes(nn.Module):
    "Batches without replacement; the order and the place in it lie in buffers, and one of them is there only after the first call."

    def __init__(self):
        super().__init__()
        self.register_buffer("order", None)
        self.register_buffer("place", torch.tensor(0))

    def forward(self, generator):
        if self.order is None or self.place + 16 > len(self.order):
            self.order, self.place = torch.randperm(len(ITEMS), generator=generator), torch.zeros_like(self.place)
        rows = self.order[self.place : self.place + 16]
        self.place += 16
        return two(ITEMS[rows], generator)

    draw = forward


class Listed(nn.Module):
    "The same with the place in a plain attribute that goes into the checkpoint as extra state."

    def __init__(self):
        super().__init__()
        self.seen = []

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = list(state["seen"])

    def forward(self, generator):
        first = (7 * len(self.seen) + sum(self.seen)) % 40
        self.seen.append(first)
        return two(ITEMS[first : first + 16], generator)


class Mined(nn.Module):
    "Each item meets the one that was nearest to it when all were looked at last; how many are known grows."

    def __init__(self):
        super().__init__()
        self.register_buffer("nearest", torch.zeros(0, dtype=torch.int64))

    def refresh(self, model, step):
        z = model(ITEMS)  # in training mode: dropout draws, averages move
        known = 30 + step
        self.nearest = (z @ z.T).fill_diagonal_(-9).argmax(1)[:known]

    def forward(self, generator):
        rows = torch.randint(len(self.nearest), (16,), generator=generator)
        return ITEMS[rows], ITEMS[self.nearest[rows]]


class Learned(nn.Module):
    "A temperature that is learned, or that falls with time."

    def __init__(self, falls=False):
        super().__init__()
        self.log_temperature, self.clock, self.falls = nn.Parameter(torch.tensor(-0.5)), Clock(), falls

    def forward(self, *pairs):
        return info_nce(*pairs, temperature=0.5 - 0.4 * self.clock.share if self.falls else self.log_temperature.exp())


def plain(**changes):
    model = make()
    return {"model": model, "sample": sample, "build": build, "objective": LOSS} | changes


def queued(momentum=0.9):
    model = make()
    return plain(model=model, build=Momentum(model, with_queue, momentum, Queue(40, 4)))


def falling():
    clocked = Learned(falls=True)
    clocked.log_temperature.requires_grad_(False)
    return plain(objective=clocked)


def refreshed():
    mined = Mined()
    return plain(sample=mined, refresh=mined.refresh, refresh_every=4)


def refreshed_by_a_module_alone():
    "The sampler is a function, and the module is known by the method that refreshes it."
    mined = Mined()
    return plain(sample=lambda generator: mined(generator), refresh=mined.refresh, refresh_every=6)


def everything():
    model, mined = make(), Mined()
    memory = Momentum(model, with_queue, lambda share: 0.9 + 0.1 * share, Queue(40, 4))
    groups = {"objective": {"lr": 0.5}, "model": {"weight_decay": 0.1}}
    kinds = dict(optimizer="sgd", warmup=3, clip=0.5, groups=groups, refresh=mined.refresh, refresh_every=4)
    return {"model": model, "sample": mined, "build": memory, "objective": Learned(), **kinds}


def adam(groups):
    return torch.optim.Adam(groups, betas=(0.8, 0.9), amsgrad=True)


KINDS = {
    "plain": plain,
    "sampler": lambda: plain(sample=Passes()),
    "method of a sampler": lambda: plain(sample=Passes().draw),
    "partial of a sampler": lambda: plain(sample=partial(Passes())),
    "extra state": lambda: plain(sample=Listed()),
    "queue": queued,
    "momentum by the clock": lambda: queued(lambda share: 0.5 + share / 2),
    "clock": falling,
    "refresh": refreshed,
    "refresh of a sampler that is hidden": refreshed_by_a_module_alone,
    "learned temperature": lambda: plain(objective=Learned()),
    "groups": lambda: plain(objective=Learned(), groups={"model": {"lr": 0.02}, "objective": {"lr": 0.2, "weight_decay": 0.0}}),
    "groups of a function": lambda: plain(groups=lambda parts: [{"params": parts["model"].parameters(), "lr": 0.03}]),
    "sgd": lambda: plain(optimizer="sgd"),
    "another optimiser": lambda: plain(optimizer=adam),
    "warmup": lambda: plain(warmup=6),
    "clip": lambda: plain(clip=0.1),
    "bf16": lambda: queued() | {"precision": "bf16"},
    "everything": everything,
}


def modules(given):
    owners = (getattr(getattr(part, "func", part), "__self__", getattr(part, "func", part)) for part in given.values())
    return [owner for owner in owners if isinstance(owner, nn.Module)]


def remembered(given) -> list:
    "All that the parts of a training hold."
    return [value for module in modules(given) for _, value in sorted(module.state_dict().items())]


def equal(one, two) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    return one == two


def same(one: list, two: list) -> bool:
    return len(one) == len(two) and all(map(equal, one, two))


def stopped(given: dict, where: str, at: int) -> dict:
    "The same training, with a Ctrl-C in step `at` behind the part's work. A part that is a module stays one: it is hooked."
    given, part, calls = dict(given), given[where], iter(range(10**6))

    def strike(*_):
        if next(calls) == at:
            raise KeyboardInterrupt

    def struck(*arguments):
        found = part(*arguments)
        strike()
        return found

    inside = getattr(part, "func", part)
    if isinstance(inside, nn.Module):
        inside.register_forward_hook(strike)
    elif hasattr(part, "__self__"):  # a method, which no hook sees
        return stopped(given, "objective", at)
    else:
        given[where] = struck
    return given


def train(given, checkpoint=None):
    return fit(**given, steps=STEPS, **({} if "lr" in given else {"lr": 0.05}), seed=3, checkpoint=checkpoint, save_every=4)


@pytest.fixture(scope="module")
def whole():
    "The unbroken training of each kind, made once."
    made = {}

    def of(name):
        if name not in made:
            given = KINDS[name]()
            made[name] = train(given).losses, remembered(given)
        return made[name]

    return of


@pytest.fixture(autouse=True)
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("at, where", [(0, "objective"), (4, "sample"), (7, "objective"), (14, "sample")])
@pytest.mark.parametrize("name", KINDS)
def test_it_ends_in_the_same_bits(name, at, where, whole, tmp_path):
    losses, state = whole(name)
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train(stopped(KINDS[name](), where, at), path)
    again = KINDS[name]()
    history = train(again, path)
    assert history.resumed_from == at and history.losses == losses and same(remembered(again), state)


@pytest.mark.parametrize("name", ["sampler", "extra state", "queue", "clock", "refresh", "everything"])
def test_what_is_interrupted_stands_where_the_step_began(name, tmp_path):
    "A training of 7 steps by its schedule of 15, and one that is stopped in the eighth: the same memory in the modules themselves."
    broken = stopped(KINDS[name](), "objective", 7)
    with pytest.raises(KeyboardInterrupt):
        train(broken, tmp_path / "run.pt")
    taken = KINDS[name]()
    with pytest.raises(KeyboardInterrupt):
        train(stopped(taken, "sample", 0), tmp_path / "run.pt")
    assert same(remembered(broken), remembered(taken))


def test_what_a_function_keeps_for_itself_is_lost(whole, tmp_path):
    "The yardstick can tell: a sampler that is no module starts anew."

    class Forgetful:
        def __init__(self):
            self.passes = Passes()

        def __call__(self, generator):
            return self.passes(generator)

    losses, _ = whole("sampler")
    with pytest.raises(KeyboardInterrupt):
        train(stopped(plain(sample=Forgetful()), "objective", 7), tmp_path / "run.pt")
    assert train(plain(sample=Forgetful()), tmp_path / "run.pt").losses != losses


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_matters(name, whole):
    "What is named is not without effect: its losses are not those of the plain training."
    assert name == "plain" or whole(name)[0] != whole("plain")[0]


def test_the_refresh_comes_before_step_0_n_and_2n_and_not_when_taken_up(tmp_path):
    called = []

    def refresh(model, step):
        assert isinstance(model, Encoder) and not torch.is_grad_enabled()
        called.append(step)

    given = plain(refresh=refresh, refresh_every=4)
    with pytest.raises(KeyboardInterrupt):
        train(stopped(given, "objective", 9), tmp_path / "run.pt")
    assert called == [0, 4, 8]
    train(given, tmp_path / "run.pt")
    assert called == [0, 4, 8, 12]


# --- turns ----------------------------------------------------------------------------------------------------------------------


def pair(seen=None):
    "A retriever and a ranker that look at each other; the ranker's queue and clock remember."
    retriever, ranker = make(0), make(1)

    def toward(a_model, a, b):
        if seen is not None:
            seen.append((retriever.training, ranker.training))
        return in_batch(a_model(a), ranker(b).detach())

    memory = Momentum(
        ranker, lambda q, k, queue: with_queue(q, retriever.backbone(ITEMS[: len(k)])[:, :4].detach(), queue), 0.8, Queue(20, 4)
    )
    one = dict(model=retriever, sample=Passes(), build=toward, objective=Learned(), steps=3, lr=0.05, groups={"objective": {"lr": 0.3}})
    two = dict(model=ranker, sample=sample, build=memory, objective=Learned(falls=True), steps=2, lr=0.01, optimizer="sgd", warmup=2)
    two["objective"].log_temperature.requires_grad_(False)
    return {"retriever": one, "ranker": two}


def turns(trainings, checkpoint=None, rounds=3, **kinds):
    return alternate(trainings, rounds=rounds, seed=5, checkpoint=checkpoint, save_every=2, **kinds)


def held(trainings):
    return [value for given in trainings.values() for value in remembered(given)]


@pytest.mark.parametrize("name, at, where", [
    ("retriever", 0, "sample"), ("ranker", 0, "objective"), ("retriever", 4, "objective"), ("ranker", 3, "sample"),
    ("retriever", 8, "sample"), ("ranker", 5, "objective"),
])  # fmt: skip
def test_turns_end_in_the_same_bits(name, at, where, tmp_path):
    straight, broken, again = pair(), pair(), pair()
    done = turns(straight)
    with pytest.raises(KeyboardInterrupt):
        turns(broken | {name: stopped(broken[name], where, at)}, tmp_path / "run.pt")
    taken = turns(again, tmp_path / "run.pt")
    assert taken[name].resumed_from == at
    assert all(taken[key].losses == done[key].losses for key in done) and same(held(straight), held(again))
    assert [history.steps for history in taken.values()] == [9, 6]


def test_turns_come_in_order_and_those_who_wait_are_in_evaluation_mode():
    seen, logged = [], []
    trainings = pair(seen)
    turns(trainings, tracker=lambda values, step: logged.append((step, sorted(values)[0].partition("/")[0])))
    assert set(seen) == {(True, False)} and all(given["model"].training for given in trainings.values())
    assert logged == list(enumerate((["retriever"] * 3 + ["ranker"] * 2) * 3))
    assert trainings["ranker"]["objective"].clock.share == 1


def test_the_rate_of_each_runs_over_all_its_turns():
    rates = []
    turns({"a": plain(steps=2, lr=0.1)}, rounds=4, tracker=lambda values, step: rates.append(values["a/lr"]))
    alone = []
    fit(**plain(), steps=8, lr=0.1, tracker=lambda values, step: alone.append(values["lr"]))
    assert rates == alone


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: turns(t, rounds=0), "rounds: got 0"),
    (lambda t: alternate({}, rounds=2), "trainings: got dict, want a dict with one training or more"),
    (lambda t: turns(t | {"x": 3}), "trainings: x got int"),
    (lambda t: turns(t | {"x": plain(step=2)}), "trainings: x got 'step', want"),
    (lambda t: turns(t | {"x": plain(steps=2, device="cpu")}), "trainings: x got 'device', want"),
    (lambda t: turns(t | {"x": {"model": make(), "steps": 1}}), "trainings: x lacks sample, build, objective"),
    (lambda t: turns(t | {"x": plain(steps=0)}), "steps of x: got 0"),
])  # fmt: skip
def test_turns_refuse_by_name(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        change(pair())


def test_turns_refuse_a_checkpoint_of_others(tmp_path):
    path = tmp_path / "run.pt"
    turns(pair(), path)
    with pytest.raises(ValueError, match="rounds of retriever: the checkpoint has 3, this call 4"):
        turns(pair(), path, rounds=4)
    with pytest.raises(ValueError, match="checkpoint: .*was made with other settings"):
        train(plain(), path)
    train(plain(), tmp_path / "fit.pt")
    with pytest.raises(ValueError, match="checkpoint: .*was made with other settings"):
        turns(pair(), tmp_path / "fit.pt")
    saved = checkpoints.read(path)
    del saved["trainings"]["ranker"]
    checkpoints.write(path, saved)
    with pytest.raises(ValueError, match="checkpoint: .*cannot be taken up"):
        turns(pair(), path)


# --- killed ---------------------------------------------------------------------------------------------------------------------

SCRIPT = textwrap.dedent("""
    import sys, time
    sys.path.insert(0, {tests!r})
    from test_resume import everything, train

    given = everything()
    given["model"].register_forward_hook(lambda *_: time.sleep(float(sys.argv[2])))
    train(given, sys.argv[1])
""").format(tests=str(Path(__file__).parent))


def test_killed_outright_it_ends_in_the_same_bits(tmp_path, whole):
    path, script = tmp_path / "run.pt", tmp_path / "train.py"
    script.write_text(SCRIPT)
    running = subprocess.Popen([sys.executable, script, path, "0.05"])
    until = time.monotonic() + 90
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    path.with_name("run.pt.1.part").write_bytes(b"half a file")  # as if it had been killed while it wrote
    given = everything()
    history = train(given, path)
    assert history.resumed_from in (4, 8, 12) and history.losses == whole("everything")[0]
    assert same(remembered(given), whole("everything")[1]) and [p.name for p in tmp_path.glob("run*")] == ["run.pt"]


ROUNDS = 30  # of five steps: more than a chain of twenty can walk

LIFE = textwrap.dedent("""
    import os, sys, time
    sys.path.insert(0, {tests!r})
    from test_resume import ROUNDS, pair, turns

    def told(values, step):
        os.write(1, b".")
        time.sleep(0.004)

    turns(pair(), sys.argv[1], rounds=ROUNDS, tracker=told)
""").format(tests=str(Path(__file__).parent))


def live(script, path, steps, seconds, signal_) -> None:
    "One life of a training: it does some steps, is killed a moment later, and leaves no process."
    running = subprocess.Popen([sys.executable, script, path], stdout=subprocess.PIPE, start_new_session=True)
    with running:
        for _ in range(steps):
            assert running.stdout.read(1) == b".", "it ended by itself"
        time.sleep(seconds)
        running.send_signal(signal_)
    assert running.returncode == -signal_
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def saved_losses(path) -> dict:
    "What the checkpoint holds by now of the losses; reading raises where it is no whole one."
    saved = checkpoints.read(path)
    return {} if saved is None else {name: part["losses"] for name, part in saved["trainings"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_chain_of_kills_ends_in_the_same_bits(kills, tmp_path):
    "Sampler, queue, clock and two trainings in turn; killed in a step, between two, while it writes, before it has begun."
    unbroken = pair()
    losses = {name: history.losses for name, history in turns(unbroken, rounds=ROUNDS).items()}
    path, script, dice = tmp_path / "run.pt", tmp_path / "train.py", random.Random(kills)
    script.write_text(LIFE)
    reached = 0
    for _ in range(kills):
        live(script, path, dice.randrange(1, 7), dice.random() * 0.02, dice.choice([signal.SIGKILL, signal.SIGTERM]))
        found = saved_losses(path)
        assert all(steps == losses[name][: len(steps)] for name, steps in found.items())
        assert sum(map(len, found.values())) >= reached
        reached = sum(map(len, found.values()))
    assert 0 < reached < ROUNDS * 5
    again = pair()
    assert {name: history.losses for name, history in turns(again, path, rounds=ROUNDS).items()} == losses
    assert same(held(again), held(unbroken)) and [p.name for p in tmp_path.glob("run*")] == ["run.pt"]


# --- a full disk ----------------------------------------------------------------------------------------------------------------

FULL = textwrap.dedent("""
    import resource, sys
    sys.path.insert(0, {tests!r})
    from test_resume import everything, train

    def full(values, step):  # no file may grow further from here on, as on a full disk
        if step == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    try:
        train(everything() | {{"tracker": full}}, sys.argv[1])
    except OSError as error:
        print(error)
""").format(tests=str(Path(__file__).parent))


def test_a_full_disk_is_told_in_one_line_and_the_last_checkpoint_stands(tmp_path, whole):
    pytest.importorskip("resource")
    path = tmp_path / "run.pt"
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True)
    assert done.stdout == f"checkpoint: {path} cannot be written (File too large); what it held before stands\n", done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    given = everything()
    history = train(given, path)
    assert history.resumed_from == 4 and history.losses == whole("everything")[0] and same(remembered(given), whole("everything")[1])
