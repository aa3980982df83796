"""Commands for operators and developers. They are run from a checkout and are not installed."""
