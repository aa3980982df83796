"""The door for gunicorn: patch, then import, then build."""

from gevent import get_hub, monkey

monkey.patch_all()

from service.app import create_app  # noqa: E402
from service.config import load_settings  # noqa: E402
from service.logs import configure_logging, log_failing_threads, log_uncaught  # noqa: E402
from service.services import build_services  # noqa: E402
from service.traces import trace_id_of  # noqa: E402

settings = load_settings()
configure_logging(
    settings.log_level, settings.log_format, trace_id_of=trace_id_of if settings.traces_endpoint else None
)
log_failing_threads()
hub = get_hub()
hub.print_exception = lambda context, *failure: log_uncaught(*failure, where=type(context).__name__)
services = build_services(settings, loop=hub.loop)
services.start()
app = create_app(services)
