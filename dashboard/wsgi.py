"""The door for gunicorn: patch, then import, then build."""

from gevent import get_hub, monkey

monkey.patch_all()

import sys  # noqa: E402

from gevent.threadpool import ThreadPoolExecutor  # noqa: E402

from dashboard.access.first_user import HOW_TO_CREATE, somebody_can_enter  # noqa: E402
from dashboard.app import create_app  # noqa: E402
from dashboard.parts import build_parts  # noqa: E402
from dashboard.settings import load_dashboard_settings  # noqa: E402
from service.errors import ConfigurationError, ServiceUnavailableError, SettingsError  # noqa: E402
from service.logs import configure_logging, log_failing_threads, log_uncaught  # noqa: E402

BOOT_FAILED = 3  # what gunicorn's master takes for "starting it again is of no use"


def _refuse(reason: object) -> None:
    print(f"vocero dashboard: {reason}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(reason.exit_code if isinstance(reason, SettingsError) else BOOT_FAILED)


try:
    settings = load_dashboard_settings()
    configure_logging(settings.log_level, settings.log_format)
    log_failing_threads()
    hub = get_hub()
    hub.print_exception = lambda context, *failure: log_uncaught(*failure, where=type(context).__name__)
    # Real threads: Argon2 burns CPU, and in a greenlet every page would wait for it.
    parts = build_parts(settings, executor=ThreadPoolExecutor(settings.dashboard_login_threads))
    parts.start()
    if not somebody_can_enter(parts.users, has_provider=parts.provider is not None):
        _refuse(f"nobody can sign in, and there is no password from the start; create a user: {HOW_TO_CREATE}")
except (ConfigurationError, ServiceUnavailableError) as exc:
    _refuse(exc)
app = create_app(parts)
