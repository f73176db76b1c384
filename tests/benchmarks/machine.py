"""Describes the machine and the software that the benchmarks run on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

from tests.benchmarks.harness import OURS, PEERS

PACKAGES = {
    "ours": (
        OURS,
        ["trio-dispatch", "trio", "grpclib", "h2", "betterproto2", "python-dateutil", "sqlalchemy"],
    ),
    "the peers, and ours beside other ways to speak gRPC": (
        PEERS,
        [
            "frequenz-dispatch",
            "frequenz-client-dispatch",
            "frequenz-api-dispatch",
            "frequenz-channels",
            "protobuf",
            "grpcio",
            "aiosqlite",
            "grpclib",
            "h2",
            "betterproto2",
            "trio",
            "trio-asyncio",
            "python-dateutil",
        ],
    ),
}
_ASK = """
import importlib.metadata, json, platform, sys
packages = {name: importlib.metadata.version(name) for name in sys.argv[1:]}
print(json.dumps([platform.python_version(), packages]))
"""


def describe() -> str:
    """Return the CPU, cores, memory and operating system."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_cpu()}, {cores} cores, {memory:.0f} GiB of memory; {_system()}, "
        f"{platform.system()} {platform.release()}."
    )


def versions() -> str:
    """Return the versions of Python and of the packages in both environments."""
    said = []
    for who, (python, names) in PACKAGES.items():
        done = subprocess.run(
            [python, "-c", _ASK, *names], capture_output=True, text=True, check=True
        )
        version, packages = json.loads(done.stdout)
        listed = ", ".join(f"{name} {packages[name]}" for name in names)
        said.append(f"- {who}: Python {version}, {listed}")
    return "Versions:\n\n" + "\n".join(said)


def load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    return platform.freedesktop_os_release()["PRETTY_NAME"]
