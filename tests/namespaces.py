"""Commands in a world of their own: without a network, with small disks and folders that cannot be written. Linux, where it allows this."""

import shlex
import subprocess
import sys
from functools import cache

import pytest


@cache
def allowed() -> bool:
    try:
        return sys.platform == "linux" and subprocess.run(["unshare", "-rmn", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


needed = pytest.mark.skipif(not allowed(), reason="this machine allows no namespaces")


def inside(*lines: str, network: bool = True, **options) -> subprocess.CompletedProcess:
    "Run lines of shell in namespaces of their own, the first that fails being the last; `network=False` leaves loopback alone."
    script = "\n".join(["set -e", *lines] if network else ["set -e", "ip link set lo up", *lines])
    command = ["unshare", "-rm" if network else "-rmn", "sh", "-c", script]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def words(*command) -> str:
    return shlex.join(map(str, command))
