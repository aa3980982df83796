"""The door for gunicorn: patch, then import, then build."""

from gevent import get_hub, monkey

monkey.patch_all()

from service.app import create_app  # noqa: E402
from service.config import load_settings  # noqa: E402
from service.logs import configure_logging  # noqa: E402
from service.services import build_services  # noqa: E402

settings = load_settings()
configure_logging(settings.log_level, settings.log_format)
services = build_services(settings, loop=get_hub().loop)
services.start()
app = create_app(services)
