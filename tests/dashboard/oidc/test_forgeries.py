"""What somebody might send instead of a sign-in: every one of these leaves everybody out."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from dashboard.access.oidc import ProviderSignInError, attempts
from dashboard.access.oidc import provider as provider_module
from dashboard.access.oidc.id_token import Expected, UnknownKeyError, check
from service.storage import AuditFilter
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.oidc.conftest import Traveller
from tests.dashboard.oidc.provider import CLIENT_ID, Forge, Provider


def claiming(provider: Provider, **changes: Any) -> Forge:
    """A token that is signed as it should be, with these claims changed; None: left out."""

    def forge(_: dict[str, Any], claims: dict[str, Any]) -> str:
        changed = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return provider.sign(changed)

    return forge


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unsigned(spelling: str) -> Forge:
    def forge(header: dict[str, Any], claims: dict[str, Any]) -> str:
        return ".".join([*(encoded(json.dumps(each).encode()) for each in ({**header, "alg": spelling}, claims)), ""])

    return forge


def signed_with_a_public_key(key: bytes) -> Forge:
    """By hand: the libraries of today refuse to do it."""

    def forge(header: dict[str, Any], claims: dict[str, Any]) -> str:
        text = unsigned("HS256")(header, claims).removesuffix(".")
        return f"{text}.{encoded(hmac.digest(key, text.encode(), 'sha256'))}"

    return forge


def signed_by(key: RSAKey, **header_changes: Any) -> Forge:
    return lambda header, claims: jwt.encode({**header, **header_changes}, claims, key, ["RS256"])


@cache
def another_key() -> RSAKey:
    return RSAKey.generate_key(2048)


def public(key: RSAKey) -> dict[str, Any]:
    return dict(key.as_dict(private=False))


def now() -> int:
    return int(time.time())


FORGERIES: dict[str, Callable[[Provider], Forge]] = {
    "no signature": lambda _: unsigned("none"),
    "no signature, spelt otherwise": lambda _: unsigned("None"),
    "an RSA signature that is empty": lambda _: unsigned("RS256"),
    "HMAC with the public key": lambda it: signed_with_a_public_key(it.signing.as_pem(private=False)),
    "HMAC with a part of it": lambda it: signed_with_a_public_key(public(it.signing)["n"].encode()),
    "another key under the same name": lambda _: signed_by(another_key()),
    "another key, brought along": lambda _: signed_by(another_key(), jwk=public(another_key())),
    "another key, to be fetched": lambda _: signed_by(another_key(), jku="http://127.0.0.1:9/keys", kid="mine"),
    "another issuer": lambda it: claiming(it, iss="http://127.0.0.1:9"),
    "the issuer with a slash": lambda it: claiming(it, iss=f"{it.url}/"),
    "another audience": lambda it: claiming(it, aud="another client"),
    "no audience": lambda it: claiming(it, aud=[]),
    "made for another client": lambda it: claiming(it, aud=[CLIENT_ID, "another"], azp="another"),
    "for two, and not said for whom": lambda it: claiming(it, aud=[CLIENT_ID, "another"]),
    "expired": lambda it: claiming(it, exp=now() - 3600),
    "without an end": lambda it: claiming(it, exp=None),
    "not valid yet": lambda it: claiming(it, nbf=now() + 3600),
    "made in the future": lambda it: claiming(it, iat=now() + 3600),
    "made long before": lambda it: claiming(it, iat=now() - 3600),
    "another sign-in's nonce": lambda it: claiming(it, nonce="x" * 43),
    "no nonce": lambda it: claiming(it, nonce=None),
    "another access token's hash": lambda it: claiming(it, at_hash="x" * 22),
    "nobody": lambda it: claiming(it, sub=None),
    "an empty name": lambda it: claiming(it, sub=""),
    "a number": lambda it: claiming(it, sub=4711),
    "a name without end": lambda it: claiming(it, sub="x" * 300),
    "no token": lambda _: lambda header, claims: "",
    "rubbish": lambda _: lambda header, claims: "x.y.z",
    "too long": lambda _: lambda header, claims: "x" * 200_000,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_token_that_does_not_hold_says_nothing(name: str, signing_key: RSAKey) -> None:
    provider = Provider(url="http://127.0.0.1:1", signing=signing_key)
    header = {"alg": "RS256", "kid": signing_key.kid}
    claims = {
        "iss": provider.url,
        "sub": "4711",
        "aud": [CLIENT_ID],
        "exp": now() + 60,
        "iat": now(),
        "nonce": "n" * 43,
    }
    expected = Expected(issuer=provider.url, client_id=CLIENT_ID, nonce="n" * 43, since=now(), now=now())
    keys = KeySet([RSAKey.import_key(signing_key.as_dict(private=False))])
    assert check(provider.sign(claims), keys, expected)["sub"] == "4711"
    with pytest.raises((ProviderSignInError, UnknownKeyError)):
        check(FORGERIES[name](provider)(header, claims), keys, expected, access_token="a token")


WHOLE_WAY = ["no signature", "HMAC with the public key", "another audience", "another sign-in's nonce", "no token"]


def test_whoever_brings_one_is_let_in_by_none(joined: Dashboard, provider: Provider, traveller: Traveller) -> None:
    for name in WHOLE_WAY:
        provider.forge = FORGERIES[name](provider)
        answer = traveller.travel()
        assert (answer.status_code, traveller.is_signed_in) == (403, False), name
        assert "does not hold" in answer.text
    assert joined.parts.users.list_all() == []
    [entry] = joined.parts.audit.search(AuditFilter(action="login.failed")).items
    assert (entry.actor, entry.after) == ("(provider)", '{"failures": 1, "outcome": "mistrusted"}')
    provider.forge = claiming(provider, aud=CLIENT_ID)  # the same way, and nothing wrong with it
    traveller.travel()
    assert traveller.is_signed_in


def test_made_up_key_names_cause_no_more_than_one_request(provider: Provider, traveller: Traveller) -> None:
    for number in range(3):
        provider.forge = signed_by(provider.signing, kid=f"made-up-{number}")
        assert traveller.travel().status_code == 403
    assert provider.fetched.count("/keys") == 1
    assert provider.fetched.count("/.well-known/openid-configuration") == 1


def test_a_new_key_of_the_provider_is_found_out(
    provider: Provider, traveller: Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "KEYS_AGAIN_SECONDS", 0.0)
    traveller.travel()
    provider.use_new_key(kind="EC")
    traveller.flask.delete_cookie("vocero_session")
    traveller.travel()
    assert traveller.is_signed_in
    assert provider.fetched.count("/keys") == 2


def changed(address: str, **values: str | None) -> str:
    """The address with other values in its query; None: left out."""
    parts = urlsplit(address)
    query = {name: value for name, value in {**dict(parse_qsl(parts.query)), **values}.items() if value is not None}
    return parts._replace(query=urlencode(query)).geturl()


def test_a_way_back_is_good_once_in_one_browser_and_for_ten_minutes(
    joined: Dashboard, provider: Provider, new_traveller: Callable[[], Traveller]
) -> None:
    victim, mallory = new_traveller(), new_traveller()
    back = victim.visit(victim.set_out())
    mallory.set_out()
    for browser, address in [
        (new_traveller(), back),  # a browser that never went
        (mallory, back),  # one that went on a way of its own
        (victim, changed(back, state="x" * 43)),
        (victim, changed(back, state="")),
        (victim, changed(back, state=None)),
        (victim, changed(back, state="x" * 5000)),
    ]:
        answer = browser.come_back(address)
        assert answer.status_code == 400
        assert "another browser" in answer.text
        assert not browser.is_signed_in
    assert victim.come_back(back).status_code == 200  # nobody could spoil it
    victim.flask.delete_cookie("vocero_session")
    assert victim.come_back(back).status_code == 400
    joined.store.delete(*joined.store.keys("vocero:sign_in:provider:attempt:*"))  # Mallory's
    late = victim.visit(victim.set_out())
    [key] = joined.store.keys("vocero:sign_in:provider:attempt:*")
    assert 590 < joined.store.ttl(key) <= attempts.KEPT_SECONDS
    joined.store.pexpire(key, 0)
    assert victim.come_back(late).status_code == 400


def test_somebody_elses_code_signs_nobody_in(new_traveller: Callable[[], Traveller]) -> None:
    """Code injection: what the challenge (PKCE) is for."""
    victim, mallory = new_traveller(), new_traveller()
    stolen = dict(parse_qsl(urlsplit(victim.visit(victim.set_out())).query))["code"]
    own = mallory.visit(mallory.set_out())
    answer = mallory.come_back(changed(own, code=stolen))
    assert answer.status_code == 403
    assert not mallory.is_signed_in


def test_a_no_of_the_provider_is_a_no(provider: Provider, traveller: Traveller) -> None:
    provider.denies = True
    answer = traveller.travel()
    assert answer.status_code == 403
    assert "Staff SSO did not sign you in." in answer.text


@pytest.mark.parametrize("issuer", [None, "https://evil.example"])
def test_a_code_of_another_issuer_is_not_taken_to_this_one(
    provider: Provider, traveller: Traveller, issuer: str | None
) -> None:
    """A mix-up of two providers (RFC 9207)."""
    provider.metadata["authorization_response_iss_parameter_supported"] = True
    back = traveller.visit(traveller.set_out())
    assert traveller.come_back(changed(back, iss=issuer)).status_code == 403
    assert "/token" not in provider.fetched
    back = traveller.visit(traveller.set_out())
    assert traveller.come_back(changed(back, iss=provider.url)).status_code == 200


def test_what_the_provider_writes_is_shown_as_text(provider: Provider, traveller: Traveller) -> None:
    marker = '"><script>alert(1)</script>'
    address = changed(traveller.visit(traveller.set_out()), code=None, error=marker, error_description=marker)
    assert "<script>alert" not in traveller.come_back(address).text
    provider.person["preferred_username"] = marker
    traveller.travel()
    assert "<script>alert" not in traveller.flask.get("/account").text


def test_a_flood_of_beginnings_is_bounded(traveller: Traveller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MOST_OF_A_NETWORK", 2)
    assert [traveller.flask.get("/login/oidc").status_code for _ in range(4)] == [303, 303, 429, 429]
