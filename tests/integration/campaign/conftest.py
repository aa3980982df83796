"""A service of two workers with a backup, before a sandbox of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.campaign.campaign import SANDBOX_OPTIONS, SERVICE_SETTINGS, Scene
from tests.conftest import StartSandbox, StartService
from tests.parts import require_module
from tests.servers import RunningSandbox, RunningService

StartStage = Callable[..., "Stage"]


@dataclass(frozen=True)
class Stage:
    """A service and the sandbox behind it."""

    service: RunningService
    sandbox: RunningSandbox

    @property
    def scene(self) -> Scene:
        """Where callers find them."""
        return Scene(service=self.service.url, sandbox=self.sandbox.url)


@pytest.fixture
def start_stage(start_service: StartService, start_sandbox: StartSandbox) -> StartStage:
    """Start both: `start_stage("--latency-scale", "0.5", VOCERO_FIRST_AUDIO_SECONDS="0.5")`."""
    require_module("espeakng_loader", "local")

    def start(*sandbox_options: str, **environment: str) -> Stage:
        sandbox = start_sandbox(*SANDBOX_OPTIONS, *sandbox_options)
        return Stage(start_service(ELEVENLABS_BASE_URL=sandbox.url, **{**SERVICE_SETTINGS, **environment}), sandbox)

    return start
