"""Runs of the book's own pages that are killed at random moments and resumed end as if nobody had touched them."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_run import wait_for

from contrastive_nb import files
from contrastive_nb.lab import claims, records

pytestmark = pytest.mark.skipif(files.checkout() is None, reason="no checkout here")
HOW = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WORKER, KERNEL = "lab/worker.py", "ipykernel_launcher"


class Pages:
    "Some pages of the book and a build folder that only they use."

    def __init__(self, build: Path, *pages: str):
        self.build, self.pages = build, pages

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "contrastive_nb", "run", "--resume", *self.pages]
        env = os.environ | {files.BUILD: str(self.build)}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self) -> None:
        process = self.start()
        said, _ = process.communicate()
        assert process.returncode == 0, said

    def processes(self) -> list[psutil.Process]:
        "Whatever runs here for this build folder, but for what has ended and waits to be seen."
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(files.BUILD) == str(self.build) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def commands(self) -> list[str]:
        lines = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                lines.append(" ".join(process.cmdline()))
        return lines

    def kill(self, seconds: float, how: signal.Signals, whom: str) -> str:
        """Start the pages, and so many seconds after the first kernel began (below 0: while the runner begins) send the signal to it.

        `whom` is killed before: a worker or a kernel.
        """
        process = self.start()
        if seconds >= 0:
            wait_for(lambda: process.poll() is not None or any(KERNEL in line for line in self.commands()))
        time.sleep(seconds % 2 if seconds < 0 else seconds)
        for other in self.processes() if whom else []:
            with contextlib.suppress(psutil.Error):
                if whom in " ".join(other.cmdline()):
                    other.kill()
                    break
        process.send_signal(how)
        said, _ = process.communicate(timeout=60)
        assert wait_for(lambda: not self.processes(), 20), self.commands()
        assert "Traceback" not in said or whom, said
        return said

    def records(self) -> dict[str, dict]:
        "Every record that is there, whole and right, without what differs from one run to the next."
        kept = {}
        for path in sorted(self.build.glob("claims/ci/*.json")):
            record = claims.check_record(json.loads(path.read_text(encoding="utf-8")))
            assert path.stem == record["id"] and list(record["runs"]) == ([] if records.is_set_aside(record) else ["ci"])
            made = record["runs"].get("ci", {})
            kept[path.stem] = record | {"runs": {key: value for key, value in made.items() if key not in ("seconds", "memory", "commit")}}
        return kept

    def notes(self) -> dict[str, list[str]]:
        "The claims that each page's finished run names."
        paths = {page: self.build / "runs" / "ci" / f"{page}.json" for page in self.pages}
        return {page: json.loads(path.read_text(encoding="utf-8"))["claims"] for page, path in paths.items() if path.is_file()}


def chain(tmp_path: Path, kills: int, longest: float, *pages: str) -> None:
    unbroken, broken = Pages(tmp_path / "unbroken", *pages), Pages(tmp_path / "broken", *pages)
    unbroken.finish()
    want, draw = unbroken.records(), random.Random(kills)
    assert want and all(unbroken.notes().values())
    for _ in range(kills):
        broken.kill(draw.uniform(-1.0, longest), draw.choice(HOW), draw.choice(["", "", WORKER, KERNEL]))
        for name, record in broken.records().items():  # what is there is whole, and nothing else is
            assert record == want[name]
        assert all(names == unbroken.notes()[page] for page, names in broken.notes().items())
    broken.finish()
    assert broken.records() == want and broken.notes() == unbroken.notes()
    assert not list(broken.build.rglob("*.running*")) and not list(broken.build.rglob("*.log"))
    assert not broken.processes() and not unbroken.processes()


@pytest.mark.slow
def test_two_kills(tmp_path):
    chain(tmp_path, 2, 4.0, "0_foundations/06_claims")


@pytest.mark.slow
def test_twenty_kills_over_three_pages(tmp_path):
    chain(tmp_path, 20, 20.0, "1_objectives/04_decoupled", "1_objectives/06_triplet", "2_hard_negatives/01_mochi")
