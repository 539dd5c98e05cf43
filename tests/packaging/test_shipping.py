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
from importlib import metadata
from pathlib import Path

import click
import pytest

import moorage
from moorage.cli.main import main
from tests.journeys.client import START_SECONDS, STOP_SECONDS, Client
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


@pytest.mark.slow
def test_the_client_is_typed_needs_nothing_and_installs_alone(tmp_path: Path) -> None:
    folder = ROOT / "distributions" / "moorage-client"
    hatchling = [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path)]
    subprocess.run(hatchling, cwd=folder, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    [sdist] = tmp_path.glob("*.tar.gz")
    told = f"moorage_client-{moorage.__version__}"
    assert (wheel.name, sdist.name) == (f"{told}-py3-none-any.whl", f"{told}.tar.gz")
    ours = {str(path.relative_to(folder / "src")) for path in (folder / "src").rglob("*.py")}
    names = names_in(wheel)
    assert ours | {"moorage_client/py.typed", f"{told}.dist-info/licenses/LICENSE"} <= names
    assert {name.partition("/")[0] for name in names} == {"moorage_client", f"{told}.dist-info"}
    with zipfile.ZipFile(wheel) as archive:
        described = archive.read(f"{told}.dist-info/METADATA").decode()
    assert "Requires-Dist" not in described
    assert "Requires-Python: >=3.9" in described

    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index"]
    installed = tmp_path / "installed"
    subprocess.run([*pip, "--target", str(installed), str(wheel)], check=True, capture_output=True)
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import moorage_client as m; print(m.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(installed))


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


@pytest.mark.slow
def test_names_that_deployments_call_lead_here(image: Image, tmp_path: Path) -> None:
    """In an environment with nothing but Moorage and the names."""
    names = ROOT / "distributions" / "placement-names"
    hatchling = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*hatchling, str(tmp_path / "dist")], cwd=names, check=True, capture_output=True)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    environment = image.root / "opt" / "moorage"
    folder = environment / "bin"

    def run(*words: str, status: int = 0) -> str:
        done = image.run([str(folder / words[0]), *words[1:]])
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("python", "-m", "pip", "install", "--no-deps", "--no-index", str(wheel))
    run("python", "-m", "pip", "check")
    configuration = image.root / "etc" / "moorage"
    configuration.mkdir(parents=True, exist_ok=True)
    database = tmp_path / "named.sqlite"
    (configuration / "placement.conf").write_text(
        f"[placement_database]\nconnection = sqlite:///{database}\n{NOAUTH}"
    )
    run("placement-status", "upgrade", "check", status=1)
    run("placement-manage", "db", "sync")
    assert database.exists()
    assert "a082b8bb98d0" in run("placement-manage", "db", "version").splitlines()
    run("placement-manage", "db", "online_data_migrations")
    run("placement-status", "upgrade", "check")
    assert "placement:traits:list" in run("oslopolicy-policy-generator", "--namespace", "placement")
    run("oslopolicy-list-redundant", "--namespace", "placement")

    # As mod_wsgi reads the file, as uWSGI imports the module, and as Placement's own script begins.
    ask = "; print(application({'PATH_INFO': '/healthz', 'REQUEST_METHOD': 'GET'}, print))"
    for imported in (
        "from placement.wsgi.api import application",
        "from placement.wsgi import init_application; application = init_application()",
        f"import runpy; application = runpy.run_path('{folder}/placement-api')['application']",
    ):
        assert "200 OK" in run("python", "-c", imported + ask)
    port = free_port()
    run("python", "-m", "pip", "install", "--no-deps", f"pyuwsgi=={metadata.version('pyuwsgi')}")
    uwsgi = [str(folder / "uwsgi"), "--http-socket", f"127.0.0.1:{port}", "--need-app", "--lazy-apps"]
    more = ["--module", "placement.wsgi.api:application", "--virtualenv", str(environment)]
    for command in ([*uwsgi, *more, "--threads", "4"], [str(folder / "placement-api"), "--port", str(port)]):
        with (tmp_path / "log").open("wb") as log:
            server = subprocess.Popen(
                command, cwd=image.workdir, env=image.variables(), stdout=log, stderr=log
            )
        try:
            until = time.monotonic() + START_SECONDS
            while not ready(port):
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < until, (tmp_path / "log").read_text()
                time.sleep(0.2)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STOP_SECONDS)

    # Metadata cannot say that two distributions exclude each other: whatever finds both refuses.
    [packages] = (environment / "lib").glob("python*/site-packages")
    reference = packages / "openstack_placement-16.0.0.dist-info"
    reference.mkdir()
    (reference / "METADATA").write_text("Metadata-Version: 2.1\nName: openstack-placement\nVersion: 16.0.0\n")
    clash = "are installed in the same environment"
    assert clash in run("python", "-c", "import placement.wsgi.api", status=1)
    assert clash in run("placement-api", status=1)
    assert clash in run("placement-manage", "db", "sync", status=1)
    assert clash in run("placement-status", "upgrade", "check", status=255)


def ready(port: int) -> bool:
    try:
        with Client(port, keep_alive=False) as client:
            return client.request("GET", "/readyz").status == 200
    except OSError:
        return False
