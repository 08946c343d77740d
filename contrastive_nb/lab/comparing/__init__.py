"""Which objective is best on your own data? The same search for all, seeds by power, the judged part opened once, a page with what it could not tell."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contrastive_nb import files
from contrastive_nb.checks import check_count, check_flag, check_function, check_is, check_number, check_path
from contrastive_nb.lab import benches
from contrastive_nb.lab.claims import decide, holm, t_interval
from contrastive_nb.lab.comparing import contest, seen
from contrastive_nb.lab.comparing.given import Given, Unreadable, read

__all__ = ["Outcome", "Unreadable", "compare"]

OBJECTIVES = ("info_nce", "decoupled_nce", "mw")
FOLDER = Path("build/compare")
FEWEST = 3  # seeds, where the minutes allow no more


@dataclass
class Outcome:
    "What came of a contest; `outcome.json` beside the page holds the same."

    winner: str | None  # None: no winner could be named
    words: str  # why, in one or two sentences
    metric: str
    smallest: float  # the smallest difference that counts
    seeds: int
    wanted: int | None  # seeds that the power asks for; None: more than 32
    floors: dict[str, float]
    scores: dict[str, list[float]]  # contestant -> one number a seed, on the judged part
    table: list[dict]  # each contestant against the first: effect, interval, p after Holm, verdict
    settings: dict[str, dict]  # contestant -> what the search chose
    seconds: dict[str, float]  # of the processor, one training
    report: dict[str, Any]  # of the data
    world: str  # the file that the trainings read
    encoder: str
    steps: int
    notes: list[str] = field(default_factory=list)
    page: str | None = None

    def means(self) -> dict[str, float]:
        "The mean over seeds of each contestant."
        return {name: math.fsum(values) / len(values) for name, values in self.scores.items()}


def compare(
    given: str | Path | Given,  # a file or folder (see `comparing.given.read`), or what was read already
    *,
    objectives: Sequence[str] = OBJECTIVES,  # names of the registry, or "narrower+objective"; the first is the baseline
    encoder: str = "tower",  # "tower" or "mlp" over TF-IDF, "minilm" or another sentence encoder, "module:function"; labels: an mlp
    smallest: float = 0.01,  # the smallest difference of the metric that counts
    minutes: float = 15,  # of the processor, about
    steps: int = contest.STEPS,  # of one training
    output: str | Path = FOLDER,  # where page, numbers and trainings go; a run that was stopped goes on from there
    seed: int = 0,  # of the parts, where the data name none
    executor: Executor | None = None,  # any of concurrent.futures' form whose workers see `output`; None: this process
    progress: Callable[[str, int, int], Any] | None = None,  # called with what is done, how many are, of how many
    page: bool = True,  # also make the page, which needs papermill
) -> Outcome:
    """Hold a contest of objectives on one's own pairs or labels.

    Every contestant has nine settings to choose from, on a part of its own; the number of seeds follows from the spread of
    paired differences there, for the difference that counts, as far as the minutes go. Then each is trained on these seeds and
    judged once on the last part. Raises `Unreadable` where the data cannot be used, `TypeError` or `ValueError` naming the argument.
    """
    check_flag("page", page)
    names = _checked(objectives, smallest, minutes, steps)
    check_is("given", given, (str, Path, Given), "a file, a folder, or what `read` made of one")
    check_is("encoder", encoder, str, "its name, or module:function")
    check_count("seed", seed, 0)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor: got {type(executor).__name__}, want an executor, which has `submit`, or None")
    if progress is not None:
        check_function("progress", progress)
    folder = check_path("output", output).resolve()
    held = given if isinstance(given, Given) else read(given, seed)
    path = contest.prepared(held, encoder, folder)
    race = _Race(names, encoder, str(path), steps, contest.Memory(folder / "trainings"), executor, progress)
    settings = race.search()
    wanted, seeds, spread = race.seeds(settings, smallest, minutes)
    scores = race.judged(settings, seeds)
    outcome = _outcome(race, held, settings, scores, smallest, wanted, spread)
    if race.spent > 60 * minutes:
        outcome.notes.append(
            f"The trainings took {race.spent / 60:.1f} minutes of the processor and not {minutes:g}: search, spread and {seeds} seeds are the least."
        )
    files.write_whole(folder / "outcome.json", json.dumps(asdict(outcome), indent=1, ensure_ascii=False) + "\n")
    if page:
        from contrastive_nb.lab.comparing.page import made

        outcome.page = made(folder)
    return outcome


def _checked(objectives, smallest, minutes, steps) -> list[str]:
    names = [check_is("objectives", name, str, "names") for name in check_is("objectives", objectives, (list, tuple), "a list of names")]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"objectives: got {names}, want two or more, each once")
    for name in names:
        try:
            contest.settings_of(name)
        except ValueError as error:
            raise ValueError(f"objectives: {name}: {error}") from None
    check_number("smallest", smallest, 0, open_low=True), check_number("minutes", minutes, 0, open_low=True), check_count("steps", steps)
    return names


@dataclass
class _Race:
    names: list[str]
    encoder: str
    world: str
    steps: int
    memory: contest.Memory
    executor: Executor | None
    progress: Callable | None
    seconds: dict[str, float] = field(default_factory=dict)
    code: str = field(init=False)
    spent: float = 0.0  # seconds of the processor, those of an interrupted contest included

    def __post_init__(self):
        self.code = contest.code_of(self.encoder)

    def task(self, name: str, settings: dict, seed: int, parts: Sequence[str]) -> dict:
        same = {"world": self.world, "encoder": self.encoder, "code": self.code, "steps": self.steps}
        return same | {"objective": name, **settings, "seed": seed, "parts": list(parts)}

    def run(self, what: str, tasks: list[dict]) -> list[dict]:
        done = itertools.count(1)
        tell = self.progress or (lambda *ignored: None)
        found = contest.run_all(tasks, self.memory, self.executor, lambda: tell(what, next(done), len(tasks)))
        self.spent += math.fsum(numbers["seconds"] for numbers in found)
        return found

    def search(self) -> dict[str, dict]:
        "What each chose on the part for that."
        tried = [(name, settings) for name in self.names for settings in contest.settings_of(name)]
        found = self.run("search", [self.task(name, settings, contest.SEARCH_SEED, ["valid"]) for name, settings in tried])
        best: dict[str, tuple] = {}
        for (name, settings), numbers in zip(tried, found, strict=True):
            if name not in best or numbers["valid"] > best[name][0]:
                best[name] = numbers["valid"], settings
            self.seconds[name] = min(self.seconds.get(name, math.inf), numbers["seconds"])
        return {name: settings for name, (_, settings) in best.items()}

    def seeds(self, settings: dict, smallest: float, minutes: float) -> tuple[int | None, int, float]:
        "Seeds that the power asks for (`None`: more than 32), seeds that the seconds left allow, and the spread behind both."
        tasks = [self.task(name, settings[name], seed, ["valid"]) for name in self.names for seed in contest.PILOT_SEEDS]
        found = self.run("spread", tasks)
        rows = [[n["valid"] for n in found[i : i + len(contest.PILOT_SEEDS)]] for i in range(0, len(found), len(contest.PILOT_SEEDS))]
        spread = max(contest.spread_limit([b - a for a, b in zip(rows[0], row, strict=True)]) for row in rows[1:])
        wanted = benches.seeds_for(spread, smallest)
        affordable = int((60 * minutes - self.spent) / max(1e-9, math.fsum(self.seconds.values())))
        return wanted, max(FEWEST, min(wanted or benches.MOST, affordable)), spread

    def judged(self, settings: dict, seeds: int) -> dict[str, list[float]]:
        "One number a seed for each, on the part that was not looked at before."
        found = self.run("judged", [self.task(name, settings[name], seed, ["test"]) for name in self.names for seed in range(seeds)])
        return {name: [n["test"] for n in found[i * seeds : (i + 1) * seeds]] for i, name in enumerate(self.names)}


def _same(differences: list[float]) -> bool:
    "Whether all are one number, but for how sums are rounded."
    return max(differences) - min(differences) < 1e-9


def _p(differences: list[float]) -> float:
    "Two-sided, of the paired t test; 1 where all are the same: they show no chance, and so nothing can be held against it."
    from scipy.stats import ttest_1samp

    if _same(differences):
        return 1.0
    return float(ttest_1samp(differences, 0).pvalue)


def _against(scores: dict[str, list[float]], base: str, smallest: float) -> list[dict]:
    "Every other contestant against one, p-values adjusted for their number."
    rows: list[dict[str, Any]] = []
    for name in scores:
        if name != base:
            differences = [b - a for a, b in zip(scores[base], scores[name], strict=True)]
            interval = t_interval(differences)
            effect, verdict = math.fsum(differences) / len(differences), decide(interval, smallest)
            if abs(effect) > 1e-9 and _same(differences):  # a metric of few steps, not a training without chance
                verdict = "not resolved"
            rows.append(
                {"objective": name, "effect": effect, "low": interval[0], "high": interval[1], "p": _p(differences), "verdict": verdict}
            )
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p"] = p
    return rows


def _won(
    scores: dict[str, list[float]], smallest: float, seeds: int, wanted: int | None, judged: int | None = None
) -> tuple[str | None, str]:
    "The winner, if there is one that the seeds can carry, and the words for it."
    means = {name: math.fsum(values) / len(values) for name, values in scores.items()}
    best = max(means, key=lambda name: means[name])
    few = "" if wanted and seeds >= wanted else f" {seeds} seeds were run; the power asks for {wanted or f'more than {benches.MOST}'}."
    near = [name for name in means if name != best and means[best] - means[name] < smallest]
    if near:
        names = " and ".join(sorted([best, *near]))
        return None, f"No winner: {names} lie within {smallest:g} of each other, the smallest difference that counts.{few}"
    others = _against(scores, best, smallest)
    open_ = [row for row in others if row["p"] >= 0.05]
    if open_:
        names = " and ".join(row["objective"] for row in open_)
        half = max((row["high"] - row["low"]) / 2 for row in open_)
        return None, f"No winner: {best} lies ahead of {names}, and the seeds cannot tell this from chance (half-width {half:.2g}).{few}"
    half = max((row["high"] - row["low"]) / 2 for row in others)
    if few and half > smallest / 2:  # what the power is asked for: intervals of half the difference that counts
        return None, f"No winner: {best} lies ahead, by intervals too wide for {smallest:g} (half-width {half:.2g}).{few}"
    ahead = min(means[best] - mean for name, mean in means.items() if name != best)
    if judged and ahead * judged < 1:
        return None, f"No winner: {best} lies ahead by {ahead:.3g}, which is less than one of the {judged} that are judged.{few}"
    low = -max(row["high"] for row in others)
    return best, f"{best} is best on these data, by {ahead:.3g} over the next, at least {low:.3g} by the 95% interval; {smallest:g} counts."


def _outcome(race: _Race, held: Given, settings, scores, smallest, wanted, spread) -> Outcome:
    world, seeds = contest.world_of(race.world), len(scores[race.names[0]])
    winner, words = _won(scores, smallest, seeds, wanted, len(held.test))
    floors = _floors(race, held, world)
    features = (world.queries, world.documents) if held.kind == "texts" else None
    notes = _limits(scores, floors, len(held.test))
    notes += [f"Differences of paired seeds spread by at most {spread:.2g} (upper 80% limit of {len(contest.PILOT_SEEDS)} seeds)."]
    if wanted is None and winner is None:
        notes.append(
            f"By that spread {benches.MOST} seeds cannot promise to see a difference of {smallest:g}: it takes more data, or a larger --smallest."
        )
    if seeds < benches.LEAST:
        notes.append(
            f"{seeds} seeds are few: intervals are wide, and their coverage leans on the normal distribution. More --minutes give more."
        )
    if ends := [text for name in race.names for text in _ends(name, settings[name])]:
        notes.append(f"At the end of what was tried: {', '.join(ends)}. Settings beyond may be better.")
    metric = "nDCG@10 over all documents" if held.kind == "texts" else "accuracy of the five nearest"
    return Outcome(
        winner, words, metric, smallest, seeds, wanted, floors, scores, _against(scores, race.names[0], smallest),
        settings, race.seconds, seen.looked_at(held, features), race.world, race.encoder, race.steps, notes,
    )  # fmt: skip


def _ends(name: str, chosen: dict) -> list[str]:
    "Which of the chosen settings are the first or the last that were tried."
    tried = contest.settings_of(name)
    columns = {key: sorted({one[key] for one in tried if one[key] is not None}) for key in chosen}
    return [f"{name} {key} {chosen[key]:g}" for key, values in columns.items() if values and chosen[key] in (values[0], values[-1])]


def _limits(scores: dict[str, list[float]], floors: dict[str, float], judged: int) -> list[str]:
    "What the numbers do not say, and what they say against every contestant."
    notes = [
        f"Intervals speak of other seeds on the same {judged} that are judged, not of others: one of them moves a mean by {1 / judged:.2g}."
    ]
    best, floor = max(math.fsum(values) / len(values) for values in scores.values()), max(floors, key=lambda name: floors[name])
    if best <= floors[floor]:
        notes.append(f"No contestant lies above the floor {floor!r}, which needs no training: {best:.4f} against {floors[floor]:.4f}.")
    return notes


def _floors(race: _Race, held: Given, world) -> dict[str, float]:
    "What needs no training."
    from contrastive_nb import encoders

    untrained = encoders.seeded(0, lambda: contest.network(race.encoder, world))
    floors = {part: contest.quality(model, world, "test") for part, model in (("features as they are", None), ("untrained", untrained))}
    if held.kind == "texts":
        from contrastive_nb import data, metrics

        rows, few = held.test[:1000], ", of the first 1000" * (len(held.test) > 1000)
        scores = data.bm25(held.retrieval.documents, [held.retrieval.queries[i] for i in rows.tolist()])
        return floors | {f"BM25{few}": metrics.ndcg_at(scores, held.retrieval.labels(rows).float(), k=10)}
    most = held.y[held.train].mode().values
    return floors | {"largest class": float((held.y[held.test] == most).float().mean())}
