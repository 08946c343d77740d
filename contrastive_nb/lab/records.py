"""The form of a record: which fields a claim's file has, of which kinds, and the one reader of such files. Plain module."""

# check(record)             the record unchanged, if every field of `CLAIM` and `RUN` is there and of its kind
# upgraded(record)          a record of an older schema in this one; what it did not keep is null
# read(path, also)          a file as such a record, as `also` gives it back, if it is given
# bench_of(name)            what the run of an outcome keeps of its bench
# read_all(folder, also)    the files of a folder, sorted by the claim's id
#
# `claims.load` is `read_all` with `claims.check_record`, which judges again from the record's numbers: what shows, lists or
# compares records takes them from there. `read` raises `ValueError` alone, which names the file, the size of the run and the
# field. A field that is not listed here is kept and not looked at, so that an older reader takes a newer record in.

import json
from collections.abc import Callable
from pathlib import Path

from contrastive_nb.lab.profiles import PROFILES

# another meaning is another claim; notes may change and are amended
MEANING = tuple("id paper notebook statement metric baseline treatment direction smallest_effect bench".split())
NOTES = tuple("kind formula paper_figure says paper_effect paper_setting seeds estimand amended".split())
CLAIM = MEANING + NOTES
RUN: dict[str, tuple[type, ...]] = {  # field of a run -> its kinds in JSON
    "seeds": (list,),
    "baseline": (list,),
    "treatment": (list,),
    "effect": (int, float),
    "interval": (list,),
    "verdict": (str, type(None)),  # null at ci size
    "parameters": (dict,),
    "search": (dict,),
    "versions": (dict,),
    "device": (str,),
    "seconds": (int, float, type(None)),
    "code": (str, type(None)),
    "commit": (str, type(None)),
}
SCHEMA = 3
_NULL = type(None)
SINCE_2: dict[str, tuple[type, ...]] = {  # what schema 1 had not, `seconds` being of the processor since; null: not known
    "memory": (int, float, _NULL),  # MB, the peak
    "processor": (str, _NULL),
    "threads": (int, _NULL),
    "clean": (bool, _NULL),  # whether package, settings and the page's cells were as committed
    "settings": (dict, _NULL),  # the profile's values for the page, but the clock
    "data": (dict, _NULL),  # set -> digest of its checksums
    "page": (str, _NULL),  # digest of the page's statements that feed the record
    "depends": (dict, _NULL),  # "module:name" -> digest, and for a function the lines that were executed
    "carried": (list,),  # the times that it was found to hold past a change: commit, definitions, evidence
}
OF_SOME: dict[str, tuple[type, ...]] = {  # what a run may have
    "bench": (dict,),  # of an outcome: the settings, range, spread and admission of its bench
}
SINCE_3: dict = {  # field of the claim -> what an older record means
    "says": "ours",
    "paper_effect": None,
    "paper_setting": None,
    "bench": None,
    "seeds": None,
    "estimand": None,
    "amended": [],
}
SET_ASIDE = "set aside"
_WORDS = {bool: "true or false", list: "a list", dict: "an object", str: "text", float: "a number", _NULL: "null"}


def _name(value) -> str:
    "What a value is called in JSON."
    return (
        "true or false" if isinstance(value, bool) else _WORDS.get(float if isinstance(value, int) else type(value), type(value).__name__)
    )


def _check_object(what: str, value, fields) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{what}: got {_name(value)}, want an object with {', '.join(fields)}")
    if missing := [field for field in fields if field not in value]:
        raise ValueError(f"{what}: got no {', '.join(missing)}, want {', '.join(fields)}")


def bench_of(
    name: str,  # "bench/read-out", as a claim names it
) -> dict:
    "What an outcome takes from its bench: the settings of the trainings, and the read-out's range, spread and admission."
    from contrastive_nb.lab import benches

    bench, _, readout = name.partition("/")
    found = benches.bench(bench)
    measured = (found.facts or {"readouts": {}})["readouts"].get(readout, {})
    return dict(found.settings) | {key: measured.get(key) for key in ("range", "spread", "admitted")}


def is_set_aside(record: dict) -> bool:
    "Whether the claim is not testable here, as its page says; runs that it has are then of an earlier experiment."
    return record.get("verdict") is not None


def check(record) -> dict:
    """The record unchanged, if no field is missing or of another kind. Raises `TypeError` or `ValueError` naming the field.

    What a claim's own fields say is left to `Claim`, whether a verdict follows from its numbers to `claims.check_record`.
    """
    _check_object("record", record, [*CLAIM, "runs"])
    if not isinstance(record["runs"], dict) or not (record["runs"] or record.get("verdict") == "not testable here"):
        raise ValueError(f"runs: got {record['runs']!r}, want a run a profile, or the verdict 'not testable here' with the reason why")
    if is_set_aside(record):
        if record["verdict"] != "not testable here":
            raise ValueError(f"verdict: got {record['verdict']!r} for the claim itself, want 'not testable here', or a run that has one")
        if not isinstance(record.get("why"), str) or not record["why"].strip():
            raise ValueError(f"why: got {record.get('why')!r}, want the reason why it is not testable here")
    for profile, run in record["runs"].items():
        if profile not in PROFILES:
            raise ValueError(f"runs: got the profile {profile!r}, want one of {', '.join(map(repr, PROFILES))}")
        _check_object(f"runs[{profile!r}]: run", run, RUN)
        for field, kinds in [*RUN.items(), *((field, kinds) for field, kinds in (SINCE_2 | OF_SOME).items() if field in run)]:
            if (isinstance(run[field], bool) and bool not in kinds) or not isinstance(run[field], kinds):
                wanted = " or ".join(dict.fromkeys(_WORDS[float if kind is int else kind] for kind in kinds))
                raise TypeError(f"runs[{profile!r}]: {field}: got {_name(run[field])}, want {wanted}")
    return record


def upgraded(record):
    "The record in this schema; what is no record is left to `check`."
    if not isinstance(record, dict) or not isinstance(record.get("runs"), dict):
        return record
    unknown = {field: [] if kinds == (list,) else None for field, kinds in SINCE_2.items()}
    runs = {profile: run | unknown | run if isinstance(run, dict) else run for profile, run in record["runs"].items()}
    if isinstance(record.get("schema", 1), int) and record.get("schema", 1) < 3:  # judged by an older rule, in other words
        runs = {profile: run | {"verdict": None} if isinstance(run, dict) and "verdict" in run else run for profile, run in runs.items()}
    schema = max(SCHEMA, record["schema"]) if isinstance(record.get("schema"), int) else SCHEMA
    whole = SINCE_3 | record | {"runs": runs, "schema": schema}
    return {field: whole[field] for field in (*CLAIM, "runs", "schema", *whole) if field in whole}  # the claim first, as it is told


def _no_constant(text: str):
    raise ValueError(f"got {text}, want JSON, which has finite numbers alone")


def _once(pairs: list[tuple]) -> dict:
    "An object's fields, each of them once: of two the later would win in silence."
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)}: got the field twice, want it once")
    return found


def read(
    path: str | Path,  # of a claim's file
    also: Callable[[dict], dict] | None = None,  # gives the record back; raises `TypeError` or `ValueError` on one that it refuses
) -> dict:
    "A claim's file, checked. Raises `ValueError` naming the file and the field."
    path = Path(path)
    try:
        record = check(upgraded(json.loads(path.read_bytes(), parse_constant=_no_constant, object_pairs_hook=_once)))
        if also is not None:
            record = also(record)
    except OSError as error:
        raise ValueError(f"{path.name}: cannot be read ({error.strerror or error})") from None
    except RecursionError:
        raise ValueError(f"{path.name}: is nested too deep for a record") from None
    except (TypeError, ValueError) as error:  # text that is no UTF-8 or no JSON is a ValueError too
        raise ValueError(f"{path.name}: {error}") from None
    if record["id"] != path.stem:
        raise ValueError(f"{path.name}: id: got {record['id']!r}, want {path.stem!r}: a file is named after its claim")
    return record


def read_all(
    folder: str | Path,  # of such files; one that is not there has none
    also: Callable[[dict], dict] | None = None,  # as `read` has it
) -> list[dict]:  # sorted by id
    "The records of a folder. Raises `ValueError` naming the first file that is none."
    return [read(path, also) for path in sorted(Path(folder).glob("*.json"), key=lambda path: path.stem)]
