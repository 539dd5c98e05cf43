"""What a Containerfile says, and its commands carried out without an engine.

Paths of the image become paths below a folder, COPY copies, and RUN runs in a shell. What needs root
(adding a user) is left out, and told.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NEEDS_ROOT = re.compile(r"useradd .*")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word, and the rest of its line."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as words: of a JSON list, or as a shell divides it."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else shlex.split(self.rest)


def instructions(text: str) -> list[Instruction]:
    """All instructions in their order. Lines that end in a backslash go on."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [Instruction(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


@dataclass(slots=True)
class Image:
    """What comes of a Containerfile in ``root``, from the sources in ``context``."""

    root: Path
    context: Path
    workdir: Path = Path()
    environment: dict[str, str] = field(default_factory=dict)
    last: dict[str, Instruction] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def build(self, text: str) -> None:
        """Carry out everything. Raises AssertionError with the output of a command that fails."""
        for instruction in instructions(text):
            self.last[instruction.word] = instruction
            carry_out = getattr(self, f"_{instruction.word.lower()}", None)
            if carry_out is not None:
                carry_out(instruction)

    def translated(self, text: str) -> str:
        """``text`` with the image's folders as they are here."""
        return re.sub(r"(?<![\w.])/(build|opt|etc|var)\b", rf"{self.root}/\1", text)

    def _workdir(self, instruction: Instruction) -> None:
        self.workdir = Path(self.translated(instruction.rest))
        self.workdir.mkdir(parents=True, exist_ok=True)

    def _env(self, instruction: Instruction) -> None:
        for pair in instruction.words:
            name, _, value = pair.partition("=")
            self.environment[name] = self.translated(value).replace("$PATH", os.environ["PATH"])

    def _copy(self, instruction: Instruction) -> None:
        *sources, target = instruction.words
        if sources[0].startswith("--from="):
            # There is one folder for all stages: what is copied between them is there.
            assert sources[1] == target
            return
        for source in sources:
            place = self.workdir / target if target != "./" else self.workdir / source
            origin = self.context / source
            if origin.is_dir():
                shutil.copytree(origin, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, place)

    def _run(self, instruction: Instruction) -> None:
        if NEEDS_ROOT.fullmatch(instruction.rest):
            self.left_out.append(instruction.rest)
            return
        done = self.run(["bash", "-euc", self.translated(instruction.rest)])
        assert done.returncode == 0, f"{instruction.rest}\n{done.stdout}\n{done.stderr}"

    def variables(self) -> Mapping[str, str]:
        """The environment of a command in the image: nothing of ours but where Python is."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON"))}
        return {**kept, "PATH": path, **self.environment}

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A command in the image."""
        return subprocess.run(
            words, cwd=self.workdir, env=self.variables(), capture_output=True, text=True, check=False
        )
