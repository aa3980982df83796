"""The routes about the account: voices, models, the user and the subscription."""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any

from flask import Blueprint, Flask, request

from sandbox.auth import require_key
from sandbox.catalog import LANGUAGES, MODELS, VOICES, CatalogVoice, Model, find_voice
from sandbox.errors import ApiError, SchemaError
from sandbox.plans import PLANS
from sandbox.state import SandboxState

_CREATED_UNIX = 1_760_000_000
_MONTH_SECONDS = 30 * 24 * 3600
_MAX_PAGE = 100
SETTINGS = {"stability": 0.5, "similarity_boost": 0.75, "style": 0.0, "use_speaker_boost": True, "speed": 1.0}


def register(app: Flask, state: SandboxState) -> None:
    """Add `/v1/voices`, `/v2/voices`, `/v1/models`, `/v1/user` and `/v1/user/subscription`."""
    voices = Blueprint("voices", __name__)
    models = Blueprint("models", __name__)
    user = Blueprint("user", __name__)
    for routes in (voices, models, user):
        routes.before_request(lambda: require_key(state))

    @voices.get("/v1/voices", endpoint="list")
    def list_voices() -> dict[str, Any]:
        return {"voices": [show_voice(voice) for voice in VOICES.values()]}

    @voices.get("/v2/voices", endpoint="search")
    def search_voices() -> dict[str, Any]:
        return _search()

    @voices.get("/v1/voices/<voice_id>", endpoint="get")
    def get_voice(voice_id: str) -> dict[str, Any]:
        voice = find_voice(voice_id)
        if voice is None:
            raise ApiError("voice_not_found", f"A voice with voice ID '{voice_id}' was not found.", param="voice_id")
        return {**show_voice(voice), "voice_id": voice_id}

    @voices.get("/v1/voices/settings/default", endpoint="default_settings")
    def default_settings() -> dict[str, Any]:
        return dict(SETTINGS)

    @models.get("/v1/models", endpoint="list")
    def list_models() -> list[dict[str, Any]]:
        return [_show_model(model) for model in MODELS.values()]

    @user.get("/v1/user", endpoint="get")
    def get_user() -> dict[str, Any]:
        return {
            "user_id": "sandboxuser000000001",
            "workspace_id": "sandboxworkspace0001",
            "subscription": _subscription(state),
            "is_new_user": False,
            "can_use_delayed_payment_methods": False,
            "is_onboarding_completed": True,
            "is_onboarding_checklist_completed": True,
            "show_compliance_terms": False,
            "first_name": "Sandbox",
            "is_api_key_hashed": True,
            "created_at": _CREATED_UNIX,
            "seat_type": "workspace_admin",
        }

    @user.get("/v1/user/subscription", endpoint="subscription")
    def get_subscription() -> dict[str, Any]:
        return {**_subscription(state), "next_invoice": None, "open_invoices": [], "has_open_invoices": False}

    for routes in (voices, models, user):
        app.register_blueprint(routes)


def show_voice(voice: CatalogVoice) -> dict[str, Any]:
    """Give a voice as ElevenLabs' `Voice`."""
    return {
        "voice_id": voice.voice_id,
        "name": voice.name,
        "samples": None,
        "category": "premade",
        "fine_tuning": {"is_allowed_to_fine_tune": False, "state": {}},
        "labels": {"gender": voice.gender, "language": voice.language, "accent": voice.accent, "age": "middle_aged"},
        "description": voice.description,
        "preview_url": None,
        "available_for_tiers": list(PLANS),
        "settings": dict(SETTINGS),
        "sharing": None,
        "high_quality_base_model_ids": [model.model_id for model in MODELS.values() if model.speaks],
        "verified_languages": [
            {"language": voice.language, "model_id": model.model_id, "accent": voice.accent}
            for model in MODELS.values()
            if model.speaks and voice.language in model.languages
        ],
        "is_owner": False,
        "is_legacy": False,
        "is_mixed": False,
        "created_at_unix": _CREATED_UNIX,
    }


def _show_model(model: Model) -> dict[str, Any]:
    return {
        "model_id": model.model_id,
        "name": model.name,
        "can_be_finetuned": model.speaks,
        "can_do_text_to_speech": model.speaks,
        "can_do_voice_conversion": not model.speaks,
        "can_use_style": model.group == "standard",
        "can_use_speaker_boost": True,
        "serves_pro_voices": False,
        "token_cost_factor": model.cost,
        "description": model.description,
        "requires_alpha_access": False,
        "max_characters_request_free_user": model.limit,
        "max_characters_request_subscribed_user": model.limit,
        "maximum_text_length_per_request": model.limit,
        "languages": [{"language_id": code, "name": LANGUAGES[code]} for code in model.languages],
        "model_rates": {"character_cost_multiplier": model.cost, "cost_discount_multiplier": 1.0},
        "concurrency_group": model.group,
    }


def _search() -> dict[str, Any]:
    size = _page_size()
    words = request.args.get("search", "").casefold().split()
    wanted = {find_voice(voice_id) for voice_id in request.args.getlist("voice_ids")}
    found = [
        voice
        for voice in VOICES.values()
        if (not wanted or voice in wanted)
        and all(word in f"{voice.name} {voice.description} {voice.gender} {voice.accent}".casefold() for word in words)
    ]
    begin = _read_cursor(request.args.get("next_page_token"))
    more = begin + size < len(found)
    return {
        "voices": [show_voice(voice) for voice in found[begin : begin + size]],
        "has_more": more,
        "total_count": len(found),
        "next_page_token": base64.urlsafe_b64encode(str(begin + size).encode()).decode() if more else None,
    }


def _page_size() -> int:
    text = request.args.get("page_size", "10")
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_PAGE:
        where = {"loc": ["query", "page_size"], "type": "int_parsing"}
        raise SchemaError({**where, "msg": f"Input should be a whole number from 1 to {_MAX_PAGE}"})
    return int(text)


def _read_cursor(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(
            base64.urlsafe_b64decode(
                token,
            )
        )
    except (ValueError, binascii.Error):
        raise ApiError("invalid_parameters", "The next_page_token is not valid.", param="next_page_token") from None


def _subscription(state: SandboxState) -> dict[str, Any]:
    plan = state.plan
    paid = plan.rank > 0
    return {
        "tier": plan.name,
        "character_count": state.stats.characters,
        "character_limit": plan.character_limit,
        "max_character_limit_extension": None,
        "max_credit_limit_extension": 0,
        "can_extend_character_limit": paid,
        "allowed_to_extend_character_limit": False,
        "next_character_count_reset_unix": int(time.time()) + _MONTH_SECONDS,
        "voice_slots_used": 0,
        "professional_voice_slots_used": 0,
        "professional_voice_slots_used_in_workspace": 0,
        "voice_limit": 10 + 20 * plan.rank,
        "max_voice_add_edits": 100,
        "voice_add_edit_counter": 0,
        "professional_voice_limit": int(plan.rank > 1),
        "can_extend_voice_limit": False,
        "can_use_instant_voice_cloning": paid,
        "can_use_professional_voice_cloning": plan.rank > 1,
        "currency": "usd",
        "current_overage": {"amount": "0", "currency": "usd"},
        "status": "active" if paid else "free",
        "billing_period": "monthly_period" if paid else None,
        "character_refresh_period": "monthly_period",
    }
