"""Vocero: a self-hosted front door for ElevenLabs conversations."""

from importlib.metadata import version

__version__ = version("vocero")
