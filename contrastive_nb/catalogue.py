"""The catalogue of methods: what data/catalogue.yml says of each, joined with what the project has of it by now. Plain module."""

from contrastive_nb import claims, files, registry


def entries() -> list[dict]:
    "The rows of data/catalogue.yml as they stand: id, title, family, idea, the four choices, ... (see the file's head)."
    import yaml

    return yaml.safe_load(files.shared("data/catalogue.yml").read_text(encoding="utf-8"))


def rows() -> list[dict]:
    """One dict a method with its generated state: `state`, `notebooks`, `functions`, `oracles`, `claims`, `verdicts`.

    `state` is "derived" where the registry has a function of this paper, "claimed" where only a claim is recorded, else "planned".
    `verdicts` maps a claim's id to its verdict at each size that was run.
    """
    methods, records = registry.methods(), claims.load()
    joined = []
    for entry in entries():
        mine = [method for method in methods if method.paper == entry["id"]]
        judged = [record for record in records if record["paper"] == entry["id"]]
        pages = dict.fromkeys([method.notebook for method in mine] + [record["notebook"] for record in judged])
        joined.append(entry | {
            "state": "derived" if mine else "claimed" if judged else "planned",
            "notebooks": list(pages),
            "functions": list(dict.fromkeys(method.function.replace(":", ".") for method in mine)),
            "oracles": list(dict.fromkeys(oracle for method in mine for oracle in method.oracles)),
            "claims": [record["id"] for record in judged],
            "verdicts": {r["id"]: {profile: run["verdict"] for profile, run in r["runs"].items()} for r in judged},
        })
    return joined


def as_markdown(rows: list[dict]) -> str:
    "The catalogue as one table: id, method and paper, family, state, page, function, claims with their verdicts."
    lines = ["| id | method | family | state | page | function | claims (laptop) |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        pages = ", ".join(f"[{page.split('/')[-1]}]({page}.ipynb)" for page in row["notebooks"])
        functions = ", ".join(f"`{name.split('.')[-1]}`" for name in row["functions"])
        verdicts = "; ".join(f"{claim.split('-', 1)[1]}: {found.get('laptop', 'not run')}" for claim, found in row["verdicts"].items())
        title = row["title"].replace("|", "/")
        lines.append(f"| {row['id']} | **{row['short']}**: {title} ({row['year']}) | {row['family']} | {row['state']} | {pages} | {functions} | {verdicts} |")
    return "\n".join(lines)
