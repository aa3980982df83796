"""The parts that a command works with, made from the settings of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from scripts.reversal import redis_side
from scripts.reversal.chain import Chain, read_chain
from scripts.reversal.databases import Keeper, PgPrograms, make_keeper
from scripts.reversal.failures import EXPECTED, RefusedError, WrongSettingError
from scripts.reversal.options import Options
from scripts.reversal.runs import Runs
from service.config import load_settings
from service.errors import ConfigurationError, SettingsError
from service.logs import configure_logging
from service.storage import Deployments, database_url, open_database


@dataclass(frozen=True)
class World:
    """Nothing of it is connected yet. `steps` is another folder of migrations than ours, for tests."""

    options: Options
    keeper: Keeper
    chain: Chain
    store: redis.Redis | None
    runs: Runs
    steps: Path | None

    def revision_of_release(self, release: str) -> str:
        """The schema that a release had when it was deployed here last.

        Raises:
            RefusedError: no deployment of it was recorded.
        """
        database = open_database(self.keeper.url)
        try:
            deployments = Deployments(database).list_all()
        except EXPECTED:  # a schema without that table has recorded nothing
            raise RefusedError(
                f"Release {release} cannot be looked up: this schema records no deployments. Give --to REV."
            ) from None
        finally:
            database.close()
        found = [deployment.revision for deployment in deployments if deployment.release == release]
        if found:
            return found[-1]
        known = ", ".join(sorted({deployment.release for deployment in deployments}))
        raise RefusedError(f"Release {release} was not deployed here; known are {known or 'none'}.")


@contextmanager
def open_world(options: Options, *, steps: Path | None = None) -> Iterator[World]:
    """Everything that `options` are about; let go of at the end.

    Raises:
        WrongSettingError: a setting is wrong.
        RefusedError: the database's password or the migrations cannot be read.
    """
    try:
        settings = load_settings()
        configure_logging("error", "console")  # our own progress tells what matters
        url = database_url(settings)
    except SettingsError as exc:
        raise WrongSettingError(str(exc)) from None
    except ConfigurationError as exc:
        raise RefusedError(str(exc)) from None
    keeper = make_keeper(url, programs=PgPrograms(options.pg_bin), scratch_folder=options.journal_folder)
    chain = read_chain(steps)
    store = redis_side.connect(settings.redis_url) if options.uses_redis else None
    try:
        yield World(options, keeper, chain, store, Runs(options.journal_folder), steps)
    finally:
        if store is not None:
            store.close()
