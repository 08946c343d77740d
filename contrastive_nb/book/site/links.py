"""Which page, function, paper and claim belong together, as addresses of the website. Plain module: machinery."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contrastive_nb.book import catalogue, markup


@dataclass(frozen=True)
class Known:
    "What the pages link to: functions by their names as the registry has them, rows of the catalogue, claims that the ledger shows."

    functions: Mapping[str, str] = field(default_factory=dict)  # "contrastive_nb.objectives.info_nce" -> its entry in the reference
    methods: list[dict] = field(default_factory=list)  # of `catalogue.rows`
    claims: Mapping[str, str] = field(default_factory=dict)  # id -> the kind, in the ledger's order
    verdicts: Mapping[str, str] = field(default_factory=dict)  # id -> what a page's comment `<!-- verdict id -->` becomes

    def about(self, methods: list[dict], top: str) -> list[str]:  # links, seen from the page whose way to the front is `top`
        "Where these rows of the catalogue and their claims stand."
        links = [f'<a href="{top}catalogue.html#{row["id"]}">Catalogue: {markup.text(catalogue.called(row))}</a>' for row in methods]
        claims = [(row["id"], [id for id in row["claims"] if id in self.claims]) for row in methods]
        return links + [
            f'<a href="{top}ledger.html#{self._place(paper, ids)}">{_count(ids)} in the ledger</a>' for paper, ids in claims if ids
        ]

    def _place(self, paper: str, ids: list[str]) -> str:
        "The outcomes of a paper alone, or its first claim where it has no outcome."
        return f"?paper={paper}" if any(self.claims[id] == "outcome" for id in ids) else ids[0]

    def of_page(self, name: str, top: str) -> list[str]:
        "What a page's head links to."
        return self.about([row for row in self.methods if name in row["notebooks"]], top)

    def of_function(self, address: str, top: str) -> list[str]:
        "What an entry of the reference links to."
        return self.about([row for row in self.methods if address in map(self.functions.get, row["functions"])], top)


def _count(ids: list[str]) -> str:
    return f"{len(ids)} claim{'s' * (len(ids) != 1)}"


def functions(table: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    "Of `names.where`: each public name with its module, as the registry says it, and its entry in the reference."
    return {f"contrastive_nb.{module}.{name}": f"api/{home}.html#{name}" for module, names in table.items() for name, home in names.items()}
