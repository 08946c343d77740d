"""The command line: `contrastive-nb`, also `python -m contrastive_nb`. Plain module; what it needs is imported when a command runs."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Run the notebooks, read the ledger of claims, measure the objectives, look after the data sets.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="The data sets: which there are, fetch one, verify what is here.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")


def _refuse(error: Exception) -> typer.Exit:
    "One line on stderr, exit code 2."
    typer.echo(f"contrastive-nb: {' '.join(str(error).split())}", err=True)
    return typer.Exit(2)


def _version(asked: bool) -> None:
    if asked:
        from contrastive_nb import __version__

        typer.echo(f"contrastive_nb {__version__}")
        raise typer.Exit


@app.callback()
def main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    for stream in (sys.stdout, sys.stderr):  # a code page may lack a letter of the ledger: it is shown as its number
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@app.command()
def run(
    notebooks: Annotated[list[str] | None, typer.Argument(metavar="NOTEBOOK", help="Names under nbs/, paths, or unique parts.")] = None,
    profile: Annotated[str, typer.Option(help="ci, laptop or gpu: what each means stands in settings.ini.")] = "ci",
    jobs: Annotated[int | None, typer.Option(help="Notebooks side by side; 2, or 1 in profile gpu.")] = None,
    device: Annotated[str, typer.Option(help="auto (what the profile says), cpu, cuda, cuda:N, mps.")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting for this run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what is done and unchanged, go on with what was stopped.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Keep outputs (laptop) and records (laptop, gpu).")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Only notebooks whose outputs or records other code made.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Wall limit a notebook; with --plain, of the call: called again, it goes on.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without Jupyter: a notebook's cells in one process, and no figures.")] = False,
    part: Annotated[str | None, typer.Option(metavar="K/N", help="Every Nth notebook, from the Kth on; `merge` joins the parts.")] = None,
) -> None:
    "Execute notebooks in a profile and judge their claims. A failed notebook is kept where it can be opened."
    from contrastive_nb.book import reports
    from contrastive_nb.lab import processes, runner

    request = runner.Request(notebooks or [], profile, jobs, device, set_ or [], resume, save, stale, minutes, plain=plain, part=part)
    with processes.interruptible():  # a second Ctrl-C takes nothing of the table
        try:
            outcome = runner.run(request)
        except (ValueError, OSError, SyntaxError) as error:
            raise _refuse(error) from None
        typer.echo(reports.outcome_text(outcome))
        if outcome.code == 130:
            processes.last_line_said()
    raise typer.Exit(outcome.code)


@app.command()
def merge(
    folders: Annotated[list[str], typer.Argument(metavar="FOLDER", help="The build folder of each part, or a folder of records.")],
) -> None:
    "Join what the parts of a run made, here in build/; records of laptop and gpu, and outputs, go where `run --save` puts them."
    from contrastive_nb.book import reports
    from contrastive_nb.lab import join

    try:
        outcomes = join.merge(folders)
    except (ValueError, KeyError, OSError) as error:
        raise _refuse(error) from None
    for outcome in outcomes:
        typer.echo(reports.outcome_text(outcome))
    raise typer.Exit(max((outcome.code for outcome in outcomes), default=0))


@app.command()
def nightly(
    day: Annotated[
        str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Whose turn it is hangs on the day; today, if left out.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Notebooks side by side; 2.")] = None,
) -> None:
    "Run a seventh of the notebooks at laptop size and compare with the records; exit code 1 when an effect moved too far. Keeps nothing."
    from datetime import date

    from contrastive_nb.book import reports
    from contrastive_nb.lab import nightly as nights

    try:
        night = nights.run(date.fromisoformat(day) if day else date.today(), jobs=jobs)
    except (ValueError, FileNotFoundError, SyntaxError) as error:
        raise _refuse(error) from None
    typer.echo(reports.outcome_text(night.outcome))
    for change in night.changes:
        typer.echo(str(change))
    if night.pages:
        typer.echo(
            f"{len(night.pages)} notebooks compared with their records; claims that failed: {sum(change.fails for change in night.changes)}"
        )
    raise typer.Exit(night.code)


@app.command()
def claims(
    paper: Annotated[
        str | None, typer.Argument(metavar="PAPER", help="An id such as S03, or a part of a title or of a method's name.")
    ] = None,
    verdict: Annotated[str | None, typer.Option(metavar="WORD", help="A verdict, or words of one: confirmed, not testable.")] = None,
    kind: Annotated[str | None, typer.Option(help="cost, identity, mechanism or outcome.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Judge all records by today's rule and benches; write those that change.")] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="The claims most worth an hour of a GPU, with setting and minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The records themselves.")] = False,
) -> None:
    "Print the ledger: every claim, its verdict first; * marks a reconstructed formula; totals last."
    try:
        for option, asked, more in (("--again", again, gpu), ("--gpu", gpu, again)):
            if asked and (paper or verdict or kind or as_json or more):
                raise ValueError(f"{option}: got more beside it, want it alone")
        typer.echo(_again() if again else _gpu() if gpu else _chosen(paper, verdict, kind, as_json))
    except (ValueError, OSError) as error:
        raise _refuse(error) from None


def _gpu() -> str:
    from contrastive_nb.book import full_runs

    return full_runs.text(full_runs.plan())


def _again() -> str:
    from contrastive_nb.book import reports
    from contrastive_nb.lab import rejudge, scratch

    scratch.refuse("--again")
    return reports.again_text(rejudge.judge_ledger())


def _chosen(paper: str | None, verdict: str | None, kind: str | None, as_json: bool) -> str:
    from contrastive_nb.book import ledger, reports

    rows = ledger.chosen(ledger.rows(ledger.recorded()), paper, verdict, kind)
    if as_json:
        return json.dumps([row.record for row in rows], indent=2)
    if rows:
        return reports.claims_text(rows)
    asked = any(word is not None for word in (paper, verdict, kind))
    return "no such claim has been recorded" if asked else "the ledger is empty: no claim has been recorded"


@app.command("bench", hidden=True)  # its name in 0.1, until 0.3
@app.command()
def timing(
    contestants: Annotated[list[str] | None, typer.Argument(metavar="CONTESTANT", help="Parts of names; everyone, if left out.")] = None,
    sizes: Annotated[str, typer.Option(help="Batch sizes.")] = "256,1024,4096,8192,16384",
    dims: Annotated[str, typer.Option(help="Widths of the embeddings.")] = "128,768",
    threads: Annotated[str, typer.Option(help="Threads of a contestant.")] = "1,2",
    repetitions: Annotated[int, typer.Option(help="Rounds through all contestants.")] = 3,
    memory_limit: Annotated[float, typer.Option(help="Gigabytes that a contestant may ask for.")] = 8.0,
    minutes: Annotated[float, typer.Option(help="After which no other measurement begins; the same command goes on later.")] = 15.0,
    cap: Annotated[float, typer.Option(help="Seconds: slower steps are left out, with what they would take.")] = 15.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[str, typer.Option(help="Of the embeddings: no (float32) or bf16.")] = "no",
    output: Annotated[Path | None, typer.Option(help="The table's file; build/benchmarks/<device>.json, if left out.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the table in data/benchmarks/.")] = False,
    also: Annotated[list[str] | None, typer.Option(help="A Python file that enters contestants of your own.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say who can take part, and stop.")] = False,
) -> None:
    "Measure the objectives beside other libraries: seconds, memory, agreement. What was measured is kept, also of a run that is stopped."
    from contrastive_nb.lab import scratch
    from contrastive_nb.timing import contestants as known
    from contrastive_nb.timing import report
    from contrastive_nb.timing import tournament as benchmark

    if list_:
        for one in known.CONTESTANTS.values():
            typer.echo(f"{one.name}: {one.says}" + (f" ({why})" if (why := known.available(one)) else ""))
        return
    try:
        numbers: dict = {key: _whole_numbers(key, value) for key, value in dict(sizes=sizes, dims=dims, threads=threads).items()}
        plan = benchmark.Plan(
            contestants or [], **numbers, repetitions=repetitions, memory_limit=memory_limit, minutes=minutes, cap=cap,
            device=device, precision=precision, also=also or [],
        )  # fmt: skip
        if save:
            scratch.refuse("--save")
        path = output or report.place(device, saved=save)
        table, whole = report.run(plan, path)
    except (ValueError, RuntimeError, OSError) as error:
        raise _refuse(error) from None
    typer.echo(report.text(table, plan))
    typer.echo(f"{'the table is' if whole else 'stopped; what is done is'} in {path}")
    raise typer.Exit(0 if whole else 130)


@app.command("numerics")
def numerics_(
    words: Annotated[list[str] | None, typer.Argument(metavar="OBJECTIVE", help="Parts of names; everyone, if left out.")] = None,
    output: Annotated[Path | None, typer.Option(help="The table's file; build/benchmarks/numerics.csv, if left out.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the table in data/benchmarks/.")] = False,
) -> None:
    "Hold the objectives and other libraries against float64: dtypes, temperatures, situations. Exit code 1 where one of ours is too far off."
    from tqdm import tqdm

    from contrastive_nb.lab import scratch
    from contrastive_nb.timing import numerics

    try:
        if save:
            scratch.refuse("--save")
        path, plan = output or numerics.place(saved=save), numerics.Plan(words or [])
        with tqdm(unit="asked", disable=None, dynamic_ncols=True) as bar:
            rows = numerics.measure(plan, bar.update)
        numerics.write(rows, path)
    except (ValueError, RuntimeError, OSError) as error:
        raise _refuse(error) from None
    found = [row for row in numerics.faults(rows) if not numerics.by_nature(row)]
    for name, why in numerics.missing().items():
        typer.echo(f"{name}: {why}")
    for row in found:
        typer.echo(", ".join(f"{key} {row[key]}" for key in numerics.COLUMNS if row[key]))
    typer.echo(f"{len(rows)} questions, {len(found)} of ours too far off; the table is in {path}")
    raise typer.Exit(bool(found))


@app.command()
def compare(
    given: Annotated[
        Path, typer.Argument(metavar="FILE", help=".csv, .tsv, .jsonl, .parquet; .npz with x and y; a folder with corpus.jsonl.")
    ],
    objective: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A contestant, narrower+objective too; say it again. The first is the baseline."),
    ] = None,
    encoder: Annotated[str, typer.Option(help="tower, mlp, minilm, a model's name, or your own module:function.")] = "tower",
    smallest: Annotated[float, typer.Option(help="The smallest difference of the metric that counts.")] = 0.01,
    minutes: Annotated[float, typer.Option(help="Of the processor, about.")] = 15,
    steps: Annotated[int, typer.Option(help="Of one training.")] = 300,
    output: Annotated[Path, typer.Option(help="Folder of the page; a contest that was stopped goes on from there.")] = Path(
        "build/compare"
    ),
) -> None:
    "Which objective is best on your own pairs or labels? A page with floors, intervals, and what could not be told."
    from tqdm import tqdm

    from contrastive_nb.data import DataUnavailable
    from contrastive_nb.lab import comparing

    bar = tqdm(unit="training", disable=None, dynamic_ncols=True, leave=False)

    def tell(what: str, done: int, whole: int) -> None:
        bar.set_description_str(what)
        bar.total = whole
        bar.update(done - bar.n)

    sys.path.insert(0, "")  # the user's own module
    named = objective or list(comparing.OBJECTIVES)
    try:
        found = comparing.compare(
            given, objectives=named, encoder=encoder, smallest=smallest, minutes=minutes, steps=steps, output=output, progress=tell
        )
    except (ValueError, TypeError, OSError, ImportError, AttributeError, DataUnavailable) as error:
        raise _refuse(error) from None
    except KeyboardInterrupt:
        typer.echo(f"stopped: what is trained lies in {output}, and the same command goes on", err=True)
        raise typer.Exit(130) from None
    finally:
        bar.close()
    for name, value in found.report.items():
        typer.echo(f"{name}: {value}")
    typer.echo(f"\n{found.metric}; a difference of {found.smallest:g} counts; {found.seeds} seeds")
    for name, value in [*found.floors.items(), *found.means().items()]:
        typer.echo(f"{name:24} {value:.4f}")
    for row in found.table:
        typer.echo(f"{row['objective']} - {named[0]}: {row['effect']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}] {row['verdict']}")
    typer.echo(f"\nwinner: {found.winner}" if found.winner else "\nno winner")
    typer.echo(
        "\n".join(
            [found.words, *found.notes, f"page: {found.page or 'needs papermill; the numbers are in ' + str(output / 'outcome.json')}"]
        )
    )


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--{option}: got {text!r}, want whole numbers with commas between them, such as 256,1024") from None


def _in_a_checkout(command: str) -> None:
    from contrastive_nb import files

    if files.checkout() is None:
        raise _refuse(ValueError(f"{command}: the notebooks are in the repository, not in the installed package; clone it and look there"))


@app.command("stale")
def list_stale(all_: Annotated[bool, typer.Option("--all", help="Also what is current and what was carried.")] = False) -> None:
    "List the records that no longer say what the code does, and on stderr pages saved by hand; exit code 1 if there are any, 2 if a record cannot be read."
    from contrastive_nb.lab import freshness, outputs

    _in_a_checkout("stale")
    records, faults = freshness.readable()
    found: dict[str, list[str]] = {}
    stale = False
    try:
        for record, profile, state, why in freshness.states(records):
            stale |= state == "stale"
            if all_ or state == "stale":
                found.setdefault(record["id"], []).append(f"{profile} {state}{': ' if why else ''}{why}")
        by_hand = outputs.faults()
    except (ValueError, OSError, SyntaxError) as error:
        raise _refuse(error) from None
    for name, told in found.items():
        typer.echo(f"{name} {'; '.join(told)}")
    for fault in faults:
        typer.echo(f"contrastive-nb: {' '.join(fault.split())}", err=True)
    for page in by_hand:
        typer.echo(f"contrastive-nb: {page}", err=True)
    raise typer.Exit(2 if faults else 1 if stale or by_hand else 0)


@app.command()
def restore(
    pages: Annotated[list[str] | None, typer.Argument(metavar="PAGE", help="Names under nbs/; all pages, if left out.")] = None,
) -> None:
    "Put back the outputs that recorded runs made, where a page was saved by hand; what was written in its cells stays."
    from contrastive_nb import files
    from contrastive_nb.lab import jobs, outputs

    mended = True
    try:
        for name, done in outputs.restore(jobs.choose(pages or [], files.notebooks())):
            mended &= done
            typer.echo(
                f"{name}: " + ("its outputs are back" if done else f"git has none; contrastive-nb run {name} --profile laptop --save")
            )
    except (ValueError, OSError) as error:
        raise _refuse(error) from None
    raise typer.Exit(0 if mended else 1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    "Open JupyterLab on a scratch copy of the book, build/lab, which keeps what you do there. Further arguments are JupyterLab's."
    import importlib.util
    import os
    import sys

    from contrastive_nb import files
    from contrastive_nb.lab import scratch

    root = files.checkout()
    try:
        if root is None:
            raise ValueError("lab: the notebooks are in the repository, not in the installed package; clone it and open them there")
        if importlib.util.find_spec("jupyterlab") is None:
            raise ValueError("lab: needs jupyterlab, which is not installed; pip install 'contrastive_nb[notebooks]'")
        scratch.refuse("lab")
        target = (files.build() / "lab").resolve()
        came = scratch.copy(root, target)
        scratch.trust(target)
    except (ValueError, OSError) as error:
        raise _refuse(error) from None
    typer.echo(
        f"a scratch copy is in {target}; what is there is kept" + ("" if not came else f", and new versions came beside: {', '.join(came)}")
    )
    os.chdir(target)
    place = [f"--ServerApp.root_dir={target}", "--LabApp.default_url=/lab/tree/nbs/start.ipynb"]
    os.execve(sys.executable, [sys.executable, "-m", "jupyterlab", *place, *context.args], scratch.environment(target))


@app.command()
def student(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="New or empty: a tree that is there, an earlier one too, is not touched.")
    ],
    instructor: Annotated[
        bool, typer.Option("--instructor", help="The pages with solutions and outputs, and a key beside each: not for students.")
    ] = False,
) -> None:
    "Write the pages for a course into FOLDER, without solutions and outputs; the exercises' checks work from there."
    from contrastive_nb.book import course

    _in_a_checkout("student")
    try:
        typer.echo(course.write(folder, instructor))
    except (ValueError, OSError) as error:
        raise _refuse(error) from None


@app.command("carry")
def carry_records(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="ID or PAGE", help="Claims or pages; all stale records, if left out.")
    ] = None,
) -> None:
    "See whether stale records hold past a change of the library: their pages run at ci on both codes, step by step the same or not."
    from contrastive_nb.lab import carry

    _in_a_checkout("carry")
    left = False
    try:
        for name, state, why in carry.carry(names or []):
            left |= state == "stale"
            typer.echo(f"{name} {state}: {why}")
    except (ValueError, SyntaxError) as error:
        raise _refuse(error) from None
    raise typer.Exit(1 if left else 0)


def _check_registry() -> None:
    "One line on stderr and exit code 2 for a registry of data sets that is missing or damaged."
    from contrastive_nb import files

    path = files.shared("data/registry.json")
    try:
        for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
            texts = [name, entry["kind"], entry["licence"], *(file[key] for file in entry["files"] for key in ("file", "sha256"))]
            if not all(isinstance(text, str) for text in texts) or sum(file["bytes"] for file in entry["files"]) <= 0:
                raise ValueError(f"{name}: its kind, licence or files are not what they must be")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refuse(ValueError(f"{path}: is no registry of data sets ({type(error).__name__}: {error})")) from None


@data_app.command("list")
def data_list() -> None:
    "The data sets, where their files lie, and their licences."
    from contrastive_nb import data
    from contrastive_nb.book import reports

    _check_registry()
    head = ["name", "kind", "state", "licence", "size"]
    typer.echo(reports.table(head, [[str(row[key]) for key in head] for row in data.listing()]))


@data_app.command()
def fetch(name: Annotated[str, typer.Argument(help="A set of `data list`.")]) -> None:
    "Make sure that a set is here, whole and verified."
    from contrastive_nb import data

    _check_registry()
    try:
        typer.echo(f"{name}: {data.fetch(name)}")
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise _refuse(error) from None


@data_app.command()
def verify(name: Annotated[str | None, typer.Argument(help="A set of `data list`; all that are here, if left out.")] = None) -> None:
    "Compare the files that are here with their checksums; exit code 1 if one is damaged or the named set is missing."
    from contrastive_nb import data

    _check_registry()
    names = [name] if name else [row["name"] for row in data.listing() if row["state"] not in ("built in", "to download")]
    good = True
    try:
        for each in names:
            for file, fine, found in data.verify(each):
                good &= fine
                typer.echo(f"{'ok ' if fine else 'BAD'} {each}/{file}: {found}")
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise _refuse(error) from None
    if not names:
        typer.echo("no downloaded set is here")
    raise typer.Exit(0 if good else 1)
