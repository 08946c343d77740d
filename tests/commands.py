"""The runner of the command line for tests: output, stdout and stderr apart, whichever typer is installed."""

import inspect
from types import SimpleNamespace

from typer import testing

MIXES = "mix_stderr" in inspect.signature(testing.CliRunner.__init__).parameters  # click before 8.2 has them together or apart


class CliRunner(testing.CliRunner):
    "typer's, whose result has `output`, `output_bytes`, `stdout` and `stderr`."

    def __init__(self, charset: str = "utf-8"):
        super().__init__(charset=charset, **({"mix_stderr": False} if MIXES else {}))

    def invoke(self, *arguments, **options):
        "What a command says, and how it ends."
        told = super().invoke(*arguments, **options)
        if not MIXES:
            return told
        both, text = told.stdout_bytes + (told.stderr_bytes or b""), told.stdout + told.stderr
        said = dict(output=text, output_bytes=both, stdout=told.stdout, stderr=told.stderr)
        return SimpleNamespace(exit_code=told.exit_code, exception=told.exception, **said)
