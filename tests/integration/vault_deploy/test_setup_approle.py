from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidRequest

from tests.integration.vault_deploy.scripts_run import SETUP, complaint, environment, run, run_well
from tests.openbao import RunningOpenBao

StartOpenBao = Callable[..., RunningOpenBao]


def log_in(
    openbao: RunningOpenBao, settings: dict[str, str], *, mount: str = "approle", namespace: str | None = None
) -> hvac.Client:
    """Do with what the script printed what the service does."""
    secret_id = openbao.client(settings["VAULT_SECRET_ID"], namespace=namespace).sys.unwrap()["data"]["secret_id"]
    login = openbao.client("", namespace=namespace).auth.approle.login
    answer = login(settings["VAULT_ROLE_ID"], secret_id, mount_point=mount)
    return openbao.client(answer["auth"]["client_token"], namespace=namespace)


def test_the_role_reads_its_one_entry_and_keeps_its_token_and_may_do_nothing_else(openbao: RunningOpenBao) -> None:
    openbao.put("one/entry", key="read")
    openbao.put("one/other", key="hidden")
    settings = run_well(SETUP, **environment(openbao, VAULT_KV_PATH="one/entry", APPROLE_NAME="one"))
    client = log_in(openbao, settings)
    kv = client.secrets.kv.v2
    assert kv.read_secret_version("one/entry", raise_on_deleted_version=True)["data"]["data"] == {"key": "read"}
    assert client.auth.token.renew_self()["auth"]["lease_duration"] == 20 * 60
    assert client.auth.token.lookup_self()["data"]["policies"] == ["default", "one"]
    for forbidden in (
        lambda: kv.read_secret_version("one/other", raise_on_deleted_version=True),
        lambda: kv.list_secrets("one"),
        lambda: kv.list_secrets(""),
        lambda: kv.create_or_update_secret("one/entry", {"key": "mine"}),
        lambda: client.adapter.request(
            "patch", "/v1/secret/data/one/entry", json={}, headers={"Content-Type": "application/merge-patch+json"}
        ),
        lambda: kv.delete_latest_version_of_secret("one/entry"),
        lambda: kv.destroy_secret_versions("one/entry", [1]),
        lambda: kv.read_secret_metadata("one/entry"),
        client.sys.list_mounted_secrets_engines,
        lambda: client.auth.approle.generate_secret_id("one"),
        client.auth.token.create,
    ):
        with pytest.raises(Forbidden):
            forbidden()


def test_the_role_lets_every_worker_log_in_as_often_as_it_must(openbao: RunningOpenBao) -> None:
    settings = run_well(SETUP, **environment(openbao, APPROLE_NAME="often"))
    assert settings.keys() == {"VAULT_ROLE_ID", "VAULT_SECRET_ID", "VAULT_SECRET_ID_WRAPPED"}
    assert settings["VAULT_SECRET_ID_WRAPPED"] == "true"
    wrapped = openbao.client(settings["VAULT_SECRET_ID"]).sys.unwrap()["data"]
    assert (wrapped["secret_id_num_uses"], wrapped["secret_id_ttl"]) == (0, 0)
    for _ in range(3):
        openbao.client("").auth.approle.login(settings["VAULT_ROLE_ID"], wrapped["secret_id"])
    role = openbao.client().auth.approle.read_role("often")["data"]
    assert (role["token_ttl"], role["token_max_ttl"], role["token_num_uses"]) == (20 * 60, 4 * 60 * 60, 0)


def test_the_wrapped_secret_id_opens_once(openbao: RunningOpenBao) -> None:
    settings = run_well(SETUP, **environment(openbao, APPROLE_NAME="once", APPROLE_WRAP_TTL="90s"))
    looked_up = openbao.client("").adapter.post("/v1/sys/wrapping/lookup", json={"token": settings["VAULT_SECRET_ID"]})
    assert looked_up["data"]["creation_ttl"] == 90
    assert looked_up["data"]["creation_path"] == "auth/approle/role/once/secret-id"
    log_in(openbao, settings)
    with pytest.raises(InvalidRequest):
        log_in(openbao, settings)


def test_running_it_again_changes_the_role_and_leaves_it_and_its_secret_ids_good(openbao: RunningOpenBao) -> None:
    first = run_well(SETUP, **environment(openbao, APPROLE_NAME="again"))
    second = run_well(SETUP, **environment(openbao, APPROLE_NAME="again", APPROLE_TOKEN_TTL="7m"))
    third = run_well(SETUP, "--no-secret-id", **environment(openbao, APPROLE_NAME="again"))
    assert first["VAULT_ROLE_ID"] == second["VAULT_ROLE_ID"] == third["VAULT_ROLE_ID"]
    assert third.keys() == {"VAULT_ROLE_ID"}
    assert first["VAULT_SECRET_ID"] != second["VAULT_SECRET_ID"]
    for settings in (first, second):
        log_in(openbao, settings)
    assert openbao.client().auth.approle.read_role("again")["data"]["token_ttl"] == 20 * 60


def test_a_secret_id_in_a_file_is_for_its_owner_only_and_takes_the_place_of_the_old_one(
    openbao: RunningOpenBao, tmp_path: Path
) -> None:
    target = tmp_path / "folder with blanks" / "secret-id"
    target.parent.mkdir()
    target.write_text("old\n")
    target.chmod(0o644)
    options = ("--secret-id-file", str(target))
    done = run(SETUP, *options, **environment(openbao, APPROLE_NAME="filed"))
    assert done.returncode == 0, done.stderr
    printed = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert printed.keys() == {"VAULT_ROLE_ID", "VAULT_SECRET_ID_WRAPPED", "VAULT_SECRET_ID_FILE"}
    assert printed["VAULT_SECRET_ID_FILE"] == str(target)
    wrapping_token = target.read_text().strip()
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(target.parent.iterdir()) == [target]
    assert wrapping_token not in done.stdout + done.stderr
    log_in(openbao, {**printed, "VAULT_SECRET_ID": wrapping_token})


def test_another_mount_path_and_method_are_what_the_service_calls_them(openbao: RunningOpenBao) -> None:
    openbao.client().sys.enable_secrets_engine("kv", "team/kv", options={"version": "2"})
    openbao.put("voice/prod", mount="team/kv", key="read")
    variables = {"VAULT_KV_MOUNT": "team/kv", "VAULT_KV_PATH": "voice/prod", "VAULT_APPROLE_MOUNT": "machines"}
    settings = run_well(SETUP, **environment(openbao, APPROLE_NAME="moved", **variables))
    assert settings["VAULT_APPROLE_MOUNT"] == "machines"
    client = log_in(openbao, settings, mount="machines")
    read = client.secrets.kv.v2.read_secret_version("voice/prod", mount_point="team/kv", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"key": "read"}
    run_well(SETUP, **environment(openbao, APPROLE_NAME="moved", **variables))


def test_in_a_namespace_everything_is_made_there(openbao: RunningOpenBao) -> None:
    openbao.make_namespace("unit")
    openbao.client(namespace="unit").secrets.kv.v2.create_or_update_secret("vocero", {"key": "inside"})
    settings = run_well(SETUP, **environment(openbao, VAULT_NAMESPACE="unit", APPROLE_NAME="housed"))
    client = log_in(openbao, settings, namespace="unit")
    read = client.secrets.kv.v2.read_secret_version("vocero", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"key": "inside"}
    assert "housed" not in openbao.client().sys.list_policies()["data"]["policies"]


def test_a_role_that_is_bound_to_networks_is_refused_elsewhere_until_it_is_set_up_without(
    openbao: RunningOpenBao,
) -> None:
    elsewhere = run_well(
        SETUP, **environment(openbao, APPROLE_NAME="bound", APPROLE_BOUND_CIDRS="192.0.2.0/24,198.51.100.0/24")
    )
    with pytest.raises(InvalidRequest, match="CIDR"):
        log_in(openbao, elsewhere)
    log_in(openbao, run_well(SETUP, **environment(openbao, APPROLE_NAME="bound", APPROLE_BOUND_CIDRS="127.0.0.0/8")))
    log_in(openbao, run_well(SETUP, **environment(openbao, APPROLE_NAME="bound")))


def test_help_needs_no_vault() -> None:
    done = run(SETUP, "--help", PATH="/usr/bin:/bin")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: setup-approle.sh")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"VAULT_ADDR": ""}, "VAULT_ADDR is not set"),
        ({"VAULT_CLI": "no-such-program"}, "VAULT_CLI=no-such-program is not a program"),
        ({"VAULT_TOKEN": "wrong"}, "not logged in"),
        ({"VAULT_TOKEN": ""}, "not logged in"),
        ({"VAULT_ADDR": "http://127.0.0.1:9"}, "does not answer"),
        ({"VAULT_KV_MOUNT": "nowhere"}, "nothing is mounted at nowhere/"),
        ({"VAULT_KV_MOUNT": "cubbyhole"}, 'the engine at cubbyhole/ is "cubbyhole"'),
        ({"VAULT_KV_MOUNT": "old-kv"}, "is of version 1, and Vocero needs 2"),
        ({"VAULT_KV_PATH": "vocero/*"}, "is no name or path"),
        ({"VAULT_KV_PATH": '"} path "*'}, "is no name or path"),
        ({"APPROLE_NAME": "-field=x"}, "is no name or path"),
        ({"APPROLE_TOKEN_TTL": "soon"}, 'cannot write the role vocero: .*invalid duration "soon"'),
        ({"APPROLE_BOUND_CIDRS": "here"}, "cannot write the role vocero: "),
        ({"APPROLE_WRAP_TTL": "long"}, "cannot make a secret id: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(openbao: RunningOpenBao, variables: dict[str, str], said: str) -> None:
    if variables.get("VAULT_KV_MOUNT") == "old-kv":
        openbao.client().sys.enable_secrets_engine("kv", "old-kv", options={"version": "1"})
    done = run(SETUP, **environment(openbao, **variables))
    if "APPROLE_WRAP_TTL" in variables:  # by then the role is there
        assert (done.returncode, said in done.stderr.splitlines()[-1]) == (1, True)
        return
    line = complaint(done)
    assert line.startswith("setup-approle.sh: ")
    assert re.search(said, line), line


def test_without_any_command_line_it_says_which_one_to_get(openbao: RunningOpenBao, tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "")
    done = run(SETUP, **environment(openbao, PATH=str(tmp_path)))
    assert "there is neither `vault` nor `bao` on the PATH" in complaint(done)


def test_a_sealed_vault_is_named_as_such(start_openbao: StartOpenBao) -> None:
    openbao = start_openbao()
    openbao.seal()
    assert "is sealed or not initialised" in complaint(run(SETUP, **environment(openbao)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--secret-id-file"], "needs the name of a file"),
        (["--secret-id-file", "/no/such/folder/file"], "there is no folder"),
        (["--secret-id-file", "/"], "is a folder"),
        (["--dry-run"], "unknown argument"),
    ],
)
def test_a_wrong_argument_is_said_in_one_line(openbao: RunningOpenBao, arguments: list[str], said: str) -> None:
    assert said in complaint(run(SETUP, *arguments, **environment(openbao)))


def test_it_finds_the_command_line_that_it_is_told(openbao: RunningOpenBao, tmp_path: Path) -> None:
    variables = environment(openbao, APPROLE_NAME="told")
    (tmp_path / "my-vault").symlink_to(Path(variables["PATH"].partition(":")[0]) / "bao")
    log_in(openbao, run_well(SETUP, **{**variables, "PATH": "/usr/bin:/bin", "VAULT_CLI": str(tmp_path / "my-vault")}))
