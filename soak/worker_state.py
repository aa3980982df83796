"""The path at which the watched service tells what it holds."""

STATE_PATH = "/soak/worker"
