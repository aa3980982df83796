"""Voices, models, user and subscription, as the official SDK reads them."""

from __future__ import annotations

from typing import Any

import pytest
from elevenlabs.core.api_error import ApiError

from tests.integration.sandbox.account import RACHEL, SENTENCE, Account, open_account


def test_the_voices_are_women_and_men_in_english_and_spanish(account: Account) -> None:
    voices = account.sdk.voices.get_all().voices
    kinds = {(voice.labels["language"], voice.labels["gender"]) for voice in voices if voice.labels}
    assert kinds == {("en", "female"), ("en", "male"), ("es", "female"), ("es", "male")}
    assert all(len(voice.voice_id) == 20 for voice in voices)


def test_every_listed_voice_and_model_speaks(account: Account) -> None:
    for voice in account.sdk.voices.get_all().voices:
        assert account.speak(voice=voice.voice_id, text="Hello.").status_code == 200
    for model in account.sdk.models.list():
        expected = 200 if model.can_do_text_to_speech else 400
        assert account.speak(model_id=model.model_id, text="Hello.").status_code == expected


def test_voices_are_searched_page_by_page(account: Account) -> None:
    names: list[str | None] = []
    token = None
    while True:
        page = account.sdk.voices.search(page_size=4, next_page_token=token)
        names += [voice.name for voice in page.voices]
        token = page.next_page_token
        if not page.has_more:
            break
    assert len(names) == page.total_count == 6
    assert [voice.name for voice in account.sdk.voices.search(search="deep").voices] == ["Mateo"]
    assert account.get("/v2/voices", page_size=101).status_code == 422


def test_a_well_known_voice_id_names_a_voice_here(account: Account) -> None:
    voice = account.sdk.voices.get(RACHEL)
    assert (voice.voice_id, voice.name) == (RACHEL, "Emma")
    with pytest.raises(ApiError) as refused:
        account.sdk.voices.get("nobody")
    assert refused.value.status_code == 404


def test_models_tell_their_limits_and_their_group(account: Account) -> None:
    models = {model.model_id: model for model in account.sdk.models.list()}
    flash = models["eleven_flash_v2_5"]
    assert flash.maximum_text_length_per_request == 40_000
    assert flash.concurrency_group == "turbo"
    assert flash.model_rates is not None
    assert flash.model_rates.character_cost_multiplier == 0.5
    assert [language.language_id for language in flash.languages or []] == ["en", "es"]


def test_the_subscription_counts_the_characters_that_were_spoken(account: Account) -> None:
    before = account.sdk.user.subscription.get()
    account.speak().raise_for_status()
    after = account.sdk.user.subscription.get()
    assert (before.tier, before.status, before.character_limit) == ("creator", "active", 100_000)
    assert after.character_count - before.character_count == len(SENTENCE)
    assert account.sdk.user.get().subscription.tier == "creator"


def test_one_key_can_be_made_the_only_good_one_and_a_free_plan_has_less(start_sandbox: Any) -> None:
    with open_account(start_sandbox("--api-key", "sandbox-key", "--plan", "free", "--no-ears").url) as account:
        assert account.sdk.user.subscription.get().status == "free"
        assert account.speak(query={"output_format": "mp3_44100_192"}).status_code == 403
        assert account.speak(key="another-key").status_code == 401
