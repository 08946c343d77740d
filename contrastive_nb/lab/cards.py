"""A claim as a card, the same in JupyterLab and on the website. Plain module: how a claim is shown changes no number."""

import html
import sys

LOOK = "border:1px solid #80808066;border-left:4px solid #0173b2;border-radius:6px;padding:.6rem 1rem;max-width:46rem;margin:.4rem 0"
ROWS = "display:grid;grid-template-columns:fit-content(8rem) minmax(0,1fr);gap:.15rem .9rem;margin:.5rem 0 0;font-size:.9em"
SAYS = {"paper": "the paper says it", "implied": "implied by the paper", "ours": "our own question"}


def told(claim) -> dict[str, str]:
    "What a reader asks of a claim, in words: label -> text, without what is not said."
    bench = f"{claim.bench}{f', {claim.seeds} seeds' if claim.seeds else ''}" if claim.bench else None
    said = {
        "measured": f"{claim.metric}; claimed to be {claim.direction}",
        "of": claim.treatment,
        "against": claim.baseline,
        "counts from": f"{claim.smallest_effect:g}",
        "bench": bench,
        "the paper": claim.paper_figure,
        "speaks of": claim.estimand,
        "formula": None if claim.formula == "seen" else claim.formula,
        "amended": "; ".join(dict.fromkeys(f"{change['field']}: {change['why']}" for change in claim.amended)),
    }
    return {label: text for label, text in said.items() if text}


def card(claim) -> str:
    "HTML of a claim: who says what of whom, against what, from where it counts."
    head = " · ".join(html.escape(part) for part in ("Claim " + claim.id, claim.kind, SAYS[claim.says]))
    rows = "".join(f"<dt>{label}</dt><dd style='margin:0'>{html.escape(text)}</dd>" for label, text in told(claim).items())
    statement = f"<p style='margin:.3rem 0;font-weight:600'>{html.escape(claim.statement)}</p>"
    return f"<div class='claim' style='{LOOK}'><small>{head}</small>{statement}<dl style='{ROWS}'>{rows}</dl></div>"


def show_in_notebooks() -> None:
    "From here on a cell that ends in a claim shows its card; without IPython nothing happens. The class itself is a recorded page's code."
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.display_formatter.formatters["text/html"].for_type_by_name("contrastive_nb.lab.claims", "Claim", card)
