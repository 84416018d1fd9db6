"""The README's programs as they stand, in an environment that has the package and no more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Dev

README = Path(__file__).resolve().parents[1] / "README.md"
WHOAMI = Path(__file__).resolve().parents[1] / "examples" / "whoami.py"

# Those that are whole programs; the others are pieces of one.
PROGRAMS = [
    block
    for block in re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    if block.startswith(("import ", "from ")) and "Client(" in block
]


def run(dev: Dev, program: Path) -> str:
    # Where test.sh has installed the wheel and what it needs; here, if it is run alone.
    python = os.environ.get("HOLDFAST_EMPTY_PYTHON", sys.executable)
    got = subprocess.run(
        [python, program],
        cwd=dev.home,
        env={"HOLDFAST_ADDR": dev.address, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert got.returncode == 0, got.stderr
    return got.stdout


def test_there_is_one_for_threads_and_one_for_asyncio() -> None:
    assert [("AsyncClient(" in p) for p in PROGRAMS] == [False, True]


@pytest.mark.parametrize("program", PROGRAMS, ids=["threads", "asyncio"])
def test_a_program_of_the_readme(dev: Dev, tmp_path: Path, program: str) -> None:
    (tmp_path / "program.py").write_text(program)
    assert "Acme Automation" in run(dev, tmp_path / "program.py")


def test_whoami(dev: Dev) -> None:
    assert run(dev, WHOAMI).strip() == "Acme Automation"
