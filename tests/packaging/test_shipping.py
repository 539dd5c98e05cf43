"""What is shipped can be built, installed in a clean environment, run, watched and stopped."""

from __future__ import annotations

import configparser
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import click
import pytest

import moorage
from moorage.cli.main import main
from tests.journeys.client import START_SECONDS, STOP_SECONDS
from tests.packaging.containerfile import Image, instructions
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "packaging" / "Containerfile").read_text()
UNIT = ROOT / "packaging" / "moorage.service"

CONFIGURATION = (
    "[placement_database]\nconnection = sqlite:///{folder}/moorage.sqlite\nsync_on_startup = true\n"
)
NOAUTH = "[api]\nauth_strategy = noauth2\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The Containerfile's commands carried out: a clean environment with what is locked and our wheel."""
    made = Image(tmp_path_factory.mktemp("image"), ROOT)
    made.build(CONTAINERFILE)
    return made


def arguments_parse(words: list[str]) -> bool:
    """Whether the command line is one of ours, options and all."""
    command: click.Command = main
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    command.make_context("moorage", words)
    return True


def test_containerfile_runs_as_a_user_without_rights_and_can_be_watched() -> None:
    last = {each.word: each for each in instructions(CONTAINERFILE)}
    user, _, group = last["USER"].rest.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert f"--uid {user}" in CONTAINERFILE
    assert last["STOPSIGNAL"].rest == "SIGTERM"
    assert "127.0.0.1:8778" in last["HEALTHCHECK"].rest
    assert last["EXPOSE"].rest == "8778"
    assert last["ENTRYPOINT"].words == ["moorage"]
    assert arguments_parse(last["CMD"].words)


@pytest.mark.slow
def test_image_serves_is_healthy_and_stops(image: Image) -> None:
    assert len(image.left_out) == 1
    folder = image.root / "etc" / "moorage"
    folder.mkdir(parents=True)
    (folder / "placement.conf").write_text(CONFIGURATION.format(folder=image.workdir) + NOAUTH)
    binary = str(image.root / "opt" / "moorage" / "bin" / "moorage")
    assert image.run([binary, "--version"]).stdout == f"moorage, version {moorage.__version__}\n"
    # Off loopback it does not believe everybody: as printed, the command needs Keystone.
    refused = image.run([binary, *image.last["CMD"].words])
    assert (refused.returncode, "--insecure" in refused.stderr) == (1, True)

    port = free_port()
    command = [word.replace("8778", str(port)) for word in image.last["CMD"].words]
    command[command.index("0.0.0.0")] = "127.0.0.1"
    health = instructions(image.last["HEALTHCHECK"].rest.partition(" CMD ")[2].join(["X ", ""]))[0].words
    health = [word.replace("8778", str(port)) for word in health]
    with (image.root / "log").open("wb") as log:
        server = subprocess.Popen(
            [binary, *command], cwd=image.workdir, env=image.variables(), stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + START_SECONDS
        while image.run(health).returncode:
            assert server.poll() is None, (image.root / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.2)
        server.send_signal(signal.Signals[image.last["STOPSIGNAL"].rest])
        assert server.wait(STOP_SECONDS) == 0
        assert image.run(health).returncode != 0
    finally:
        server.kill()
        server.wait()


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.slow
def test_wheel_and_sdist_hold_everything_and_install_in_a_clean_environment(
    image: Image, tmp_path: Path
) -> None:
    hatchling = [sys.executable, "-m", "hatchling", "build", "--directory"]
    subprocess.run([*hatchling, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    [sdist] = tmp_path.glob("*.tar.gz")
    names = names_in(wheel)
    ours = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= names
    assert {name.partition("/")[0] for name in names} == {
        "moorage",
        f"moorage-{moorage.__version__}.dist-info",
    }

    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    for name in (
        "LICENSE",
        "CHANGELOG.md",
        "docs/index.md",
        "packaging/Containerfile",
        "requirements/run.txt",
    ):
        assert (unpacked / name).is_file()
    subprocess.run([*hatchling, "again", "--target", "wheel"], cwd=unpacked, check=True, capture_output=True)
    [again] = (unpacked / "again").glob("*.whl")
    assert names_in(again) == names

    python = str(image.root / "opt" / "moorage" / "bin" / "python")
    installed = image.run(
        [python, "-m", "pip", "install", "--no-deps", "--no-index", "--force-reinstall", str(again)]
    )
    assert installed.returncode == 0, installed.stderr
    told = image.run([python, "-m", "moorage", "--help"])
    assert told.returncode == 0, told.stderr
    assert "candidates" in told.stdout


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser


def test_unit_starts_a_command_of_ours_and_gives_it_time_to_stop() -> None:
    service = unit()["Service"]
    binary, *words = shlex.split(service["ExecStart"])
    assert binary == "/opt/moorage/bin/moorage"
    assert arguments_parse(words)
    seconds = int(words[words.index("--stop-seconds") + 1])
    assert int(service["TimeoutStopSec"]) > seconds
    assert service["ExecReload"].startswith("/bin/kill -HUP")
    assert service["User"] != "root"
    assert service["NoNewPrivileges"] == "true"


@pytest.mark.slow
def test_systemd_finds_nothing_wrong_with_the_unit(image: Image, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/moorage", f"{image.root}/opt/moorage"))
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert told == [], done.stderr
