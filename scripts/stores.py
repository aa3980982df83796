"""What a command needs that runs once: the database, Redis and ElevenLabs, as the settings say; and its last words.

The key decision: a command says what went wrong in one line on standard error and in its exit code, and shows no
traceback for what an operator can mend. Codes mean the same in every command of ours (`scripts/reversal` has more).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import redis
from sqlalchemy.exc import SQLAlchemyError

from service.config import Settings, load_settings
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.keys import KeyChoice
from service.errors import ConfigurationError, RequestError, SecretsSourceError, ServiceUnavailableError
from service.keeping.run import RunStoppedError
from service.logs import configure_logging
from service.maintenance import MAINTENANCE_KEY, Maintenance, read_maintenance
from service.secret import SecretName
from service.secrets_sources import make_source
from service.storage import Database, check_schema, database_url, open_database

DONE, FAILED, USAGE, REFUSED, UNFINISHED, TAKEN = 0, 1, 2, 3, 4, 5

BUSY_SECONDS = 5.0
STATEMENT_SECONDS = 60.0
REDIS_SECONDS = 5.0


class RefusedError(Exception):
    """It is not the time for the command: the message says why."""


@dataclass(frozen=True)
class Stores:
    """What a command works on."""

    settings: Settings
    database: Database
    redis: redis.Redis

    @property
    def maintenance(self) -> Maintenance | None:
        """The maintenance that the service is in; with Redis away nobody knows of one."""
        try:
            return read_maintenance(cast("bytes | None", self.redis.get(MAINTENANCE_KEY)))
        except redis.RedisError:
            return None

    def refuse_in_maintenance(self) -> None:
        """Raises RefusedError in a maintenance, in which nobody may write."""
        current = self.maintenance
        if current is not None:
            raise RefusedError(f"The service is in maintenance ({current.reason}); run this again when it is over.")


@contextmanager
def open_stores() -> Iterator[Stores]:
    """The stores of the environment's settings, for the time of the block.

    Raises:
        ConfigurationError: a setting is wrong, or the database is away or has a schema that we do not know.
    """
    configure_logging("warning", "console")
    settings = load_settings()
    database = open_database(database_url(settings), busy_seconds=BUSY_SECONDS, statement_seconds=STATEMENT_SECONDS)
    store = redis.Redis.from_url(settings.redis_url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)
    try:
        check_schema(database)
        yield Stores(settings, database, store)
    finally:
        store.close()
        database.close()


@contextmanager
def open_elevenlabs(settings: Settings) -> Iterator[ElevenLabsService]:
    """ElevenLabs, with the key that the settings lead to, for the time of the block.

    Raises:
        ConfigurationError: there is no key.
    """
    source = make_source(settings)
    try:
        key = source.read().values[SecretName.ELEVENLABS_API_KEY]
    except SecretsSourceError as exc:
        raise ConfigurationError(f"The ElevenLabs key cannot be read. {exc}") from None
    finally:
        source.close()
    with ElevenLabsService(
        settings.elevenlabs_base_url,
        keys=KeyChoice(lambda: [key]),
        connect_seconds=settings.upstream_connect_seconds,
        read_seconds=settings.upstream_read_seconds,
        ca_bundle=settings.upstream_ca_file,
    ) as elevenlabs:
        yield elevenlabs


def told(command: Callable[[], int]) -> int:
    """The exit code of `command`; what goes wrong is told in one line."""
    try:
        return command()
    except RefusedError as exc:
        return _last_words(str(exc), REFUSED)
    except RunStoppedError as exc:
        return _last_words(f"Stopped half-way: {exc}. Run it again to go on.", REFUSED)
    except ServiceUnavailableError as exc:
        return _last_words(f"{exc} ({_first_line(exc.__cause__ or exc)})", FAILED)
    except ConfigurationError as exc:
        return _last_words(str(exc), exc.exit_code)
    except (RequestError, ValueError) as exc:
        return _last_words(str(exc), FAILED)
    except redis.RedisError as exc:
        return _last_words(f"VOCERO_REDIS_URL: Redis does not answer ({type(exc).__name__}).", FAILED)
    except SQLAlchemyError as exc:
        return _last_words(f"The database refused: {_first_line(exc)}", FAILED)
    except OSError as exc:
        return _last_words(f"{exc.filename or 'The system'}: {exc.strerror or exc}.", FAILED)


def _last_words(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _first_line(failure: BaseException) -> str:
    return str(getattr(failure, "orig", failure)).strip().partition("\n")[0]
