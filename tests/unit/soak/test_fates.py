from __future__ import annotations

from collections import Counter

from soak import fates
from soak.stalls import SETTINGS
from soak.talk import SILENCE_SECONDS

MANY = [fates.draw(seed) for seed in range(1, 3001)]


def test_a_seed_always_has_the_same_fate() -> None:
    assert [fates.draw(seed) for seed in range(1, 200)] == MANY[:199]


def test_every_way_of_leaving_comes_about_on_either_side() -> None:
    names = Counter(fate.name for fate in MANY)
    for way in fates.WAYS:
        assert names[f"client leaves: {way}"] > 10
        assert names[f"agent leaves: {way}"] > 10
    for place in fates.BEFORE_THE_TALK:
        assert names[f"client leaves: {place}"] > 10


def test_more_than_half_of_the_conversations_get_to_their_end_and_most_of_those_stall() -> None:
    complete = [fate for fate in MANY if fate.is_complete]
    assert len(complete) > len(MANY) / 2
    assert sum(fate.name == "complete, with stalls" for fate in complete) > len(complete) / 2


def test_at_most_one_end_of_a_conversation_leaves() -> None:
    assert all(sum(map(bool, (fate.client.leaves, fate.agent.leaves, fate.aborts))) <= 1 for fate in MANY)


def test_who_leaves_does_so_within_what_it_hears() -> None:
    assert all(fate.client.leaves_at < fate.down and fate.agent.leaves_at < fate.up for fate in MANY)


def test_no_stall_is_long_enough_for_the_service_to_give_the_peer_up_and_every_silence_is() -> None:
    idle, deadline = (float(SETTINGS[f"VOCERO_{name}_SECONDS"]) for name in ("IDLE", "WRITE_DEADLINE"))
    stalls = [seconds for fate in MANY for side in (fate.client, fate.agent) for _, seconds in side.stalls]
    assert 0 < max(stalls) < min(idle, deadline)
    assert idle + deadline < SILENCE_SECONDS
