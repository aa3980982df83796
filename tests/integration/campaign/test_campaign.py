"""Two hundred conversations in each of which something breaks, and forty in which nothing does.

The long run, of 10,000 and 1,000, is `python -m soak campaign`.
"""

from __future__ import annotations

from soak.result import table
from soak.service_log import failures_in
from tests.campaign import calm, campaign
from tests.campaign.injections import KINDS, draw
from tests.integration.campaign.conftest import StartStage

INJECTIONS = 200
CONVERSATIONS = 225
"""Some end before what was to break in them is reached: the user broke in, or they began with the backup."""

CALM_CONVERSATIONS = 40
AT_ONCE = 25
MOST_SECONDS = 5.0
"""To the backup's first sound, on a machine that does much else; `python -m soak campaign` holds it to 1 s."""


def test_no_word_is_lost_or_repeated_whatever_breaks(start_stage: StartStage) -> None:
    stage = start_stage(**campaign.HASTY_SETTINGS)
    calm.warm_up(stage.scene)
    answers = campaign.answers()
    injections = [draw(number, answers, greeting=campaign.GREETING) for number in range(CONVERSATIONS)]
    outcomes = campaign.run(stage.scene, injections, at_once=AT_ONCE)
    said = "\n".join(table(campaign.report(outcomes)))
    assert [failure for each in outcomes for failure in each.failures] == [], said
    struck = [each.kind for each in outcomes if each.is_struck]
    assert len(struck) >= INJECTIONS, said
    assert set(struck) == KINDS.keys(), said
    seconds = [each.seconds for each in outcomes if each.seconds is not None]
    assert len(seconds) > INJECTIONS / 3, said
    assert campaign.percentile(seconds, 0.95) < MOST_SECONDS, said
    assert failures_in(stage.service.log_path) == []
    print(said)


def test_no_spurious_failover(start_stage: StartStage) -> None:
    # What is shown here is about what happens, not about how fast a machine is that does much else.
    stage = start_stage(VOCERO_FIRST_AUDIO_SECONDS="5")
    outcomes = calm.run(stage.scene, range(CALM_CONVERSATIONS), at_once=AT_ONCE)
    assert [failure for each in outcomes for failure in each.failures] == []
    assert failures_in(stage.service.log_path) == []
