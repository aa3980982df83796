"""A machine whose clock is an hour ahead: what Python starts with this folder on PYTHONPATH runs then.

The key decision: Python's own clocks are shifted, not the system's (libfaketime cannot: it breaks `time.sleep`, which
waits for a moment of the monotonic clock). OpenSSL and PostgreSQL's client go on with the true time.
"""

import datetime

import time_machine

time_machine.travel(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1), tick=True).start()
