"""Trains the contestants: the same search for all, as many seeds as the power needs and the minutes allow, every training in a file of its own."""

# A training is a function of a small dict and of the file that holds the data, so that any executor can run it anywhere that
# sees the folder. What is done is never done again: each result lies in a file whose name says what made it.

import functools
import hashlib
import importlib
import importlib.util
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_nb import data, encoders, files, metrics, protocols
from contrastive_nb.adapters import Loss
from contrastive_nb.lab.comparing.given import Given
from contrastive_nb.pairs import from_labels
from contrastive_nb.training import fit

TEMPERATURES, RATES = (0.02, 0.05, 0.2), (2e-4, 1e-3, 5e-3)  # nine settings; an objective without a temperature has nine rates
MORE_RATES = (1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2)
FEATURES = 256  # numbers that describe a text
STEPS, BATCH = 300, 64
SEARCH_SEED, PILOT_SEEDS = 10_000, (20_000, 20_001, 20_002, 20_003)  # none of them is judged
ATTEMPTS = 3  # at a training whose worker died


# --- the data as every worker reads them -----------------------------------------------------------------------------


def prepared(given: Given, encoder: str, folder: Path) -> Path:
    "The file with features and parts, written once; its name is the checksum of what is in it."
    if given.kind == "texts":
        held = given.retrieval
        queries, documents = described(given, encoder)
        world: dict[str, Any] = {
            "kind": "texts",
            "queries": queries,
            "documents": documents,
            "relevance": [sorted(found) for found in held.relevance],
        }
        world["negatives"] = given.negatives
    else:
        centre, spread = given.x[given.train].mean(0), given.x[given.train].std(0).clamp(min=1e-6)
        world = {"kind": "labels", "x": (given.x - centre) / spread, "y": given.y}
    world |= {part: getattr(given, part) for part in ("train", "valid", "test")}
    mark = hashlib.sha256(repr([(name, _mark(value)) for name, value in sorted(world.items())]).encode()).hexdigest()[:12]
    path = folder / f"world-{mark}.pt"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        part = files.part_of(path)
        torch.save(world, part)
        files.move_whole(part, path)
    return path


def _mark(value) -> str:
    return hashlib.sha256(value.numpy().tobytes()).hexdigest() if isinstance(value, Tensor) else repr(value)


def described(given: Given, encoder: str) -> tuple[Tensor, Tensor]:
    "Queries and documents as rows of length 1: TF-IDF of the documents, fitted on them alone, or a trained sentence encoder's."
    held = given.retrieval
    if encoder in ("tower", "mlp") or ":" in encoder:
        return _counted(tuple(held.documents), tuple(held.queries))
    features = encoders.sentence_encoder(encoder)
    return features(held.queries), features(held.documents)


@functools.lru_cache(maxsize=1)
def _counted(documents: tuple, queries: tuple) -> tuple[Tensor, Tensor]:
    for dims in (FEATURES, 64, 16, 4):
        try:
            features = encoders.text_features(documents, dims=dims)
        except ValueError:  # fewer texts or words than that
            continue
        return features(queries), features(documents)
    raise ValueError("encoder: the documents have too few different words for TF-IDF; want more than 4")


@functools.lru_cache(maxsize=2)
def world_of(path: str) -> SimpleNamespace:
    "What `prepared` wrote."
    world = SimpleNamespace(**torch.load(path, weights_only=True))
    if world.kind == "texts":
        parts = {part: getattr(world, part) for part in ("train", "valid", "test")}
        documents, queries = ([""] * len(x) for x in (world.documents, world.queries))  # a training needs their number alone
        world.retrieval = data.Retrieval(documents, queries, [set(found) for found in world.relevance], **parts)
    return world


def network(encoder: str, world: SimpleNamespace) -> nn.Module:
    "An untrained network on the world's features. `module:function` is called with their number."
    width = (world.queries if world.kind == "texts" else world.x).shape[1]
    if ":" in encoder:
        module, name = encoder.split(":", 1)
        return getattr(importlib.import_module(module), name)(width)
    if encoder == "mlp" or world.kind == "labels":
        return encoders.Encoder(encoders.mlp_encoder(width), nn.Linear(64, 64))
    return encoders.text_tower(width)


def code_of(encoder: str) -> str:
    "What of the code a result hangs on: the package's version, and the file of an encoder of the user's own."
    from contrastive_nb import __version__

    found = importlib.util.find_spec(encoder.split(":", 1)[0]) if ":" in encoder else None
    place = Path(found.origin) if found and found.origin else None
    own = hashlib.sha256(place.read_bytes()).hexdigest()[:12] if place and place.is_file() else ""
    return f"{__version__} {own}".strip()


# --- one training ----------------------------------------------------------------------------------------------------


def loss_of(objective: str, temperature: float | None) -> Loss:
    "`objective` of the registry, or `narrower+objective`."
    narrow, _, name = objective.rpartition("+")
    return Loss(name, temperature=temperature, narrow=narrow or None)


def trained(task: dict) -> nn.Module:
    "The network of a task after its training."
    world, objective = world_of(task["world"]), loss_of(task["objective"], task["temperature"])
    run = SimpleNamespace(device="cpu", precision="no", batch_size=BATCH, steps=task["steps"])
    options = dict(seed=task["seed"], lr=task["lr"])
    if world.kind == "texts":
        given = {"miner": functools.partial(_named, world), "hard": 1, "refresh_every": task["steps"]} if world.negatives else {}
        make = functools.partial(network, task["encoder"], world)
        return protocols.train_retriever(make, world.queries, world.documents, world.retrieval, objective, run=run, **options, **given)
    model = encoders.seeded(task["seed"], lambda: network(task["encoder"], world))
    x, y = world.x[world.train], world.y[world.train]

    def sample(generator):
        rows = torch.randperm(len(x), generator=generator)[:BATCH]
        return x[rows], y[rows]

    fit(model, sample, lambda model, x, y: from_labels(model(x), y), objective, steps=task["steps"], progress=False, **options)
    return model


def _named(world, asked: Tensor, stored: Tensor, *, k: int, positives: Tensor) -> Tensor:
    "In the place of mining: of each query to learn from one of the documents that its rows name as wrong; -1 where there is none."
    rows = [world.negatives.get(query, []) for query in world.train.tolist()]
    return torch.tensor([(found + [-1] * k)[:k] for found in rows])


def quality(model: nn.Module | None, world: SimpleNamespace, part: str) -> float:
    "nDCG@10 over all documents, or accuracy of the five nearest rows to learn from."
    rows = getattr(world, part)
    if world.kind == "texts":
        asked, stored = (unit_rows(model, x) for x in (world.queries[rows], world.documents))
        parts = zip(rows.split(256), asked.split(256), strict=True)
        return sum(len(some) * metrics.ndcg_at(z @ stored.T, world.retrieval.labels(some).float(), k=10) for some, z in parts) / len(rows)
    z = world.x if model is None else encoders.embed(model, world.x)
    return float(metrics.knn_accuracy(z[world.train], world.y[world.train], z[rows], world.y[rows], k=5))


def unit_rows(model: nn.Module | None, x: Tensor) -> Tensor:
    "The model's embeddings, or where there is none the rows themselves, at length 1."
    return F.normalize(x if model is None else encoders.embed(model, x), dim=1)


def scores_of(model: nn.Module | None, world: SimpleNamespace, rows: Tensor) -> tuple[Tensor, Tensor]:
    "Cosines of some rows with all documents, or with the rows to learn from, and which belong together. `None`: of the features."
    if world.kind == "texts":
        return unit_rows(model, world.queries[rows]) @ unit_rows(model, world.documents).T, world.retrieval.labels(rows)
    z = unit_rows(model, world.x)
    return z[rows] @ z[world.train].T, world.y[rows][:, None] == world.y[world.train]


def train_one(task: dict) -> dict:
    "A task's numbers: the part that settings are chosen on, the judged one where the task opens it, and seconds."
    torch.set_num_threads(1)
    began = time.process_time()
    model = trained(task)
    found = {part: quality(model, world_of(task["world"]), part) for part in task["parts"]}
    return found | {"seconds": time.process_time() - began}


# --- many, remembered ------------------------------------------------------------------------------------------------


class Memory:
    "Results by task in a folder; a task that is there is not run again."

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, task: dict) -> Path:
        "The file of a task: the same wherever the folder was moved to."
        text = json.dumps(task | {"world": Path(task["world"]).name}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def get(self, task: dict) -> dict | None:
        "What a task found, or None where it was not run, or its file is half of one."
        try:
            return json.loads(self.path(task).read_text(encoding="utf-8"))["found"]
        except (OSError, ValueError, KeyError):
            return None

    def put(self, task: dict, found: dict) -> None:
        "Keep what a task found, whole or not at all."
        files.write_whole(self.path(task), json.dumps({"task": task, "found": found}, indent=1) + "\n")


def run_all(tasks: Iterable[dict], memory: Memory, executor: Executor | None, tick: Callable[[], Any]) -> list[dict]:
    """The tasks' numbers in their order. What a dead worker took with it is handed in again; where the executor itself is gone,
    the rest runs here. Raises what a task itself raised."""
    tasks = list(tasks)
    waiting = {}
    for task in tasks:
        if memory.get(task) is not None:
            tick()
        else:
            waiting[memory.path(task)] = task
    left, attempts = list(waiting.values()), dict.fromkeys(waiting, 0)
    while left and executor is not None:
        left, alive = _handed(left, attempts, memory, executor, tick)
        executor = executor if alive else None
    for task in left:
        memory.put(task, train_one(task))
        tick()
    return [memory.get(task) for task in tasks]  # type: ignore[misc]


def _handed(tasks: list[dict], attempts: dict, memory: Memory, executor: Executor, tick) -> tuple[list[dict], bool]:
    "Hand in tasks, keep what comes back; the tasks to hand in again, and whether the executor still takes any."
    again: list[dict] = []
    try:
        running = {executor.submit(train_one, task): task for task in tasks}
    except RuntimeError:  # it was shut down, or broke
        return [task for task in tasks if memory.get(task) is None], False
    try:
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                attempts[memory.path(task)] += 1
                try:
                    memory.put(task, future.result())
                    tick()
                except (Exception, CancelledError) as error:
                    if not _died(error) or attempts[memory.path(task)] >= ATTEMPTS:
                        raise
                    again.append(task)
    except BaseException:
        for future in running:
            future.cancel()
        raise
    return again, True


def _died(error: BaseException) -> bool:
    "Whether a worker was lost, as the executors' own exceptions say, and not that the task was wrong."
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"BrokenExecutor", "BrokenProcessPool", "KilledWorker", "CancelledError", "FutureCancelledError"})


# --- a contest -------------------------------------------------------------------------------------------------------


def settings_of(objective: str) -> list[dict]:
    "Nine settings for each: three temperatures with three rates; without a temperature nine rates."
    try:
        loss_of(objective, TEMPERATURES[0])
    except ValueError as error:
        if not str(error).startswith("temperature:"):
            raise
        return [{"temperature": None, "lr": lr} for lr in MORE_RATES]
    return [{"temperature": t, "lr": lr} for t in TEMPERATURES for lr in RATES]


def spread_limit(differences: list[float]) -> float:
    "The upper 80% limit of a standard deviation that few seeds show."
    from scipy.stats import chi2

    free = len(differences) - 1
    return statistics.stdev(differences) * math.sqrt(free / float(chi2.ppf(0.2, free)))
