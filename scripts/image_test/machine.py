"""What the test needs of this machine: buildah, podman, Compose, and a podman that answers as Docker does.

The key decision: images, containers and networks lie in a folder of the test's own, so that whatever is on this machine
stays as it is, and everything is gone with that folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from scripts.image_test.commands import StepError, run, say
from scripts.launcher.waiting import wait_until

PACKAGES = (
    "aardvark-dns",
    "buildah",
    "ca-certificates",
    "conmon",
    "debootstrap",
    "fuse-overlayfs",
    "netavark",
    "podman",
)
MORE_PACKAGES = ("catatonit", "docker.io", "iptables", "runc")
MIRROR = "http://deb.debian.org/debian"
APT_SECONDS = 600
START_SECONDS = 30.0
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{run}/storage"
"""
# No systemd, no rights to raise a limit, no journal: what containers in containers have.
_CONTAINERS = """\
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
[engine]
runtime = "runc"
events_logger = "file"
cgroup_manager = "cgroupfs"
tmp_dir = "{run}/libpod"
volume_path = "{folder}/volumes"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
"""


class Machine:
    """A folder of the test's own with podman's service in it; a context manager that ends and removes all."""

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self.folder = folder
        self._keep = keep
        self._run = Path("/run/vocero-image-test")
        self._service: subprocess.Popen[bytes] | None = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("VOCERO_", "COMPOSE_"))},
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "DOCKER_CONFIG": str(folder / "docker"),
            "DOCKER_HOST": f"unix://{self._run}/podman.sock",
        }

    def __enter__(self) -> Machine:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise StepError("this test wants root on Debian: it makes a file system and runs containers.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run.mkdir(mode=0o700, exist_ok=True)
        try:
            self._install()
            places = {"folder": self.folder, "run": self._run}
            (self.folder / "storage.conf").write_text(_STORAGE.format(**places))
            (self.folder / "containers.conf").write_text(_CONTAINERS.format(**places))
            self._start()
        except BaseException:  # whatever it is: no service and no folder stay behind
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._service is not None:
            self._service.terminate()
            try:
                self._service.wait(10)
            except subprocess.TimeoutExpired:
                self._service.kill()
                self._service.wait()
        if self._keep:
            say(f"Kept: {self.folder}")
            return
        if shutil.which("podman") and (self.folder / "storage.conf").exists():
            # It unmounts what it has mounted, which removing files does not.
            subprocess.run(["podman", "system", "reset", "--force"], env=self.environment, check=False, timeout=120,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._run, ignore_errors=True)

    def podman(self, *arguments: str | Path, limit: float = 60.0) -> str:
        """Run podman."""
        return run(["podman", *arguments], limit=limit, environment=self.environment)

    def _install(self) -> None:
        wanted = [*PACKAGES, *MORE_PACKAGES]
        missing = [name for name in wanted if not _is_installed(name)]
        if shutil.which("docker"):  # wherever it comes from: only its command line is used
            missing = [name for name in missing if name != "docker.io"]
        if missing:
            say(f"Installing Debian's {', '.join(missing)}")
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            run(["apt-get", "update", "-qq"], limit=APT_SECONDS, environment=quiet)
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
            run(command, limit=APT_SECONDS, environment=quiet)
        compose_plugin(self.folder / "docker" / "cli-plugins", self.folder / "compose")
        (self.folder / "docker" / "config.json").write_text("{}")  # podman asks for it

    def _start(self) -> None:
        socket = self._run / "podman.sock"
        socket.unlink(missing_ok=True)
        with (self.folder / "podman.log").open("ab") as log:
            self._service = subprocess.Popen(
                ["podman", "system", "service", "--time", "0", f"unix://{socket}"],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        service = self._service
        with suppress(TimeoutError):  # as if it had ended
            wait_until(lambda: socket.exists() or service.poll() is not None, START_SECONDS)
        if not socket.exists():
            raise StepError(f"podman's service did not start: see {self.folder}/podman.log")


def compose_plugin(plugins: Path, work: Path) -> Path:
    """Docker Compose as a plugin in `plugins`, from Debian's next release (12 has none); `work` takes the rest."""
    plugin = plugins / "docker-compose"
    if plugin.exists():
        return plugin
    say("Getting Docker Compose")
    for part in ("lists/partial", "cache/archives/partial", "unpacked"):
        (work / part).mkdir(parents=True, exist_ok=True)
    source = work / "sid.list"
    source.write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {MIRROR} sid main\n")
    options = [
        f"Dir::Etc::sourcelist={source}", "Dir::Etc::sourceparts=/dev/null", f"Dir::State::lists={work}/lists",
        f"Dir::Cache={work}/cache", "APT::Sandbox::User=root", "Acquire::Languages=none",
    ]  # fmt: skip
    apt = ["apt-get", *(part for option in options for part in ("-o", option)), "-qq"]
    run([*apt, "update"], limit=APT_SECONDS)
    run([*apt, "download", "docker-compose"], limit=APT_SECONDS, folder=work)
    package = next(work.glob("docker-compose_*.deb"))
    run(["dpkg-deb", "-x", package, work / "unpacked"], limit=60)
    plugins.mkdir(parents=True, exist_ok=True)
    shutil.copy2(next((work / "unpacked").rglob("cli-plugins/docker-compose")), plugin)
    return plugin


def _is_installed(package: str) -> bool:
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.startswith("ii")
