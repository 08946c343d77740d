"""What the parts of a run made, on several machines, joined again. Plain module."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import claims as ledger
from contrastive_nb.lab import freshness, records, runner, scratch
from contrastive_nb.lab.jobs import Job, Refused
from contrastive_nb.lab.parts import PARTS


def _notes(folder: Path) -> dict[str, dict[str, Path]]:
    "What a build folder says of finished runs: profile -> page -> the note beside its output."
    found: dict[str, dict[str, Path]] = {}
    for home in sorted(path for path in (folder / "runs").glob("*") if path.is_dir()):
        notes = (path for path in home.rglob("*.json") if path.with_suffix(".ipynb").is_file())
        found[home.name] = {path.relative_to(home).with_suffix("").as_posix(): path for path in sorted(notes)}
    return found


def _announced(folders: list[Path], profile: str) -> list[str]:
    "The pages that the parts were to run. Raises `Refused` where a part is missing, or parts of different runs were brought."
    told: dict[str, list[str]] = {}
    for path in (folder / "runs" / profile / PARTS for folder in folders):
        if path.is_file():
            told |= json.loads(path.read_text(encoding="utf-8"))
    counts = {int(part.partition("/")[2]) for part in told}
    if len(counts) > 1:
        raise Refused(f"merge: got parts of {' and of '.join(map(str, sorted(counts)))} of profile {profile}, want those of one run")
    missing = [f"{k}/{n}" for n in counts for k in range(1, n + 1) if f"{k}/{n}" not in told]
    if missing:
        raise Refused(f"merge: part {', '.join(missing)} of profile {profile} is in none of the folders")
    return [page for pages in told.values() for page in pages]


def _copy(path: Path, source: Path, target: Path) -> None:
    goal = target / path.relative_to(source)
    if goal.resolve() != path.resolve():
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, goal)


def _joined(folder: Path, page: str, profile: str, note: Path, build: Path, notebooks: Path) -> Job:
    "A finished page of a part, copied into this build folder."
    said = json.loads(note.read_text(encoding="utf-8"))
    source = notebooks / f"{page}.ipynb"
    there = Job(page, source, said["code"], said["parameters"], said["overrides"], 0, folder)
    for path in (note, there.output, *there.records()):
        _copy(path, folder, build)
    job = Job(page, source, said["code"], said["parameters"], said["overrides"], 0, build)
    job.status, job.seconds, job.memory, job.claims = "ok", said["seconds"], said["memory"], said["claims"]
    return job


def _join(folders: list[Path], profile: str, build: Path, notebooks: Path) -> list[Job]:
    jobs: dict[str, Job] = {}
    came_from: dict[str, Path] = {}
    announced = _announced(folders, profile)
    for folder in folders:
        for page, note in _notes(folder).get(profile, {}).items():
            if page in jobs:
                raise Refused(f"merge: {page} of profile {profile} is in {came_from[page]} and in {folder}, want every page once")
            jobs[page], came_from[page] = _joined(folder, page, profile, note, build, notebooks), folder
    for page in announced:
        if page not in jobs:
            parameters = {"profile": profile, "seed": 0, "device": "auto"}
            jobs[page] = Job(page, notebooks / f"{page}.ipynb", "", parameters, {}, 0, build, "failed", "it was not finished in its part")
    order = {page: place for place, page in enumerate(freshness.all_notebooks(notebooks))}
    return sorted(jobs.values(), key=lambda job: order.get(job.notebook, len(order)))


def merge(
    folders: Iterable[str | Path],  # build folders of the parts, or folders of records
    *,
    build: Path | None = None,  # where they are joined
    claims: Path | None = None,  # the ledger
    notebooks: Path | None = None,
) -> list[runner.Outcome]:  # one a profile
    """Join what the parts of a run made: all of it in one build folder; of laptop and gpu the records in the ledger, as `run --save` does.

    Raises `Refused` for a folder that has nothing, a part that is missing and a page that is there twice.
    """
    scratch.refuse("merge")
    places = [Path(folder) for folder in folders]
    build, claims, notebooks = (
        Path(build or files.build()),
        Path(claims or files.shared("data/claims")),
        Path(notebooks or files.notebooks()),
    )
    profiles: list[str] = []
    for folder in places:
        found = [profile for profile, notes in _notes(folder).items() if notes or (folder / "runs" / profile / PARTS).is_file()]
        if not found and not list(folder.glob("*.json")):
            raise Refused(f"merge: {folder} has neither finished runs nor records, want the build folder of a part")
        profiles += [profile for profile in found if profile not in profiles]
    outcomes = [runner.Outcome(_join(places, profile, build, notebooks), claims) for profile in profiles]
    for outcome in outcomes:
        if outcome.jobs and outcome.jobs[0].profile in runner.SAVES:
            outcome.refused = runner.save_all(outcome.jobs, claims)
    _merge_records(places, claims)
    return outcomes


def _merge_records(folders: list[Path], claims: Path) -> None:
    "Folders that hold records alone."
    for path in (path for folder in folders for path in sorted(folder.glob("*.json"))):
        if path.parent.resolve() == claims.resolve():
            continue
        small = set(records.read(path)["runs"]) - set(runner.SAVES)
        if small:
            raise Refused(f"merge: {path} is of a {', '.join(small)} run, which is too small to be kept")
        ledger.merge(path, claims)
