"""A provider of OpenID Connect, made with Authlib's own server, over HTTP on the loopback interface.

It signs in at once whoever `person` is, as one does who has a session there. What it says can be forged on its way out.
"""

from __future__ import annotations

import html
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AccessDeniedError, AuthorizationCodeGrant, ClientMixin, OAuth2Error
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode
from flask import Flask, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from werkzeug.serving import WSGIRequestHandler, make_server

CLIENT_ID, CLIENT_SECRET = "vocero dashboard", "a secret: with % and +"
Forge = Callable[[dict[str, Any], dict[str, Any]], str]


@dataclass
class Code:
    """An authorization code that was given out."""

    code: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str | None
    code_challenge_method: str | None
    auth_time: int
    person: Mapping[str, Any]

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class OneClient(ClientMixin):
    """The dashboard, as the provider knows it."""

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith("/login/oidc/callback")

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in {"client_secret_basic", "client_secret_post"}

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Provider:
    """`url` is its issuer. The rest may be changed while it runs."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    auth_time: int | None = None  # when they signed in there; None: now
    ignores_prompt: bool = False
    denies: bool = False
    shows_a_page: bool = False  # and goes on when somebody has clicked
    signing: Any = None
    published: list[Any] = field(default_factory=list)
    forge: Forge | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)  # queries of the authorization endpoint
    fetched: list[str] = field(default_factory=list)  # paths, in their order
    codes: dict[str, Code] = field(default_factory=dict)

    def use_new_key(self, *, kind: str = "RSA", publish: bool = True) -> None:
        """Sign with another key from now on."""
        made = ECKey.generate_key("P-256") if kind == "EC" else RSAKey.generate_key(2048)
        made.ensure_kid()
        self.signing = made
        if publish:
            self.published.append(made)

    @property
    def algorithm(self) -> str:
        return "ES256" if isinstance(self.signing, ECKey) else "RS256"

    def sign(self, claims: dict[str, Any], *, key: Any = None, **header: Any) -> str:
        """Sign as it does, or with another key."""
        used = key or self.signing
        given = {"alg": self.algorithm, "kid": self.signing.kid, **header}
        return jwt.encode(given, claims, used, [given["alg"]])


def application(provider: Provider) -> Flask:
    """The endpoints of `provider`."""
    app = Flask("provider")
    server = _server(provider, app)
    app.before_request(lambda: provider.fetched.append(request.path))
    app.add_url_rule("/.well-known/openid-configuration", view_func=lambda: jsonify(_described(provider)))
    app.add_url_rule("/token", "token", server.create_token_response, methods=["POST"])
    app.add_url_rule("/elsewhere", "elsewhere", lambda: redirect(f"{provider.url}/keys"))

    @app.get("/keys")
    def keys() -> Any:
        return jsonify(KeySet(list(provider.published)).as_dict(private=False))

    @app.get("/endless")
    def endless() -> Any:
        return app.response_class((b" " * 65_536 for _ in range(64)), mimetype="application/json")

    @app.get("/authorize")
    def authorize() -> Any:
        provider.asked.append(request.args.to_dict())
        if provider.shows_a_page and "clicked" not in request.args:
            return f'<a href="{html.escape(request.url)}&amp;clicked=1" data-testid="it-is-me">It is me</a>'
        try:
            grant = server.get_consent_grant(end_user=provider.person)
        except OAuth2Error as exc:
            return str(exc), 400
        if provider.denies:
            denied = AccessDeniedError(redirect_uri=request.args["redirect_uri"])
            denied.state = request.args["state"]
            return server.handle_error_response(None, denied)
        return server.create_authorization_response(grant_user=provider.person, grant=grant)

    return app


def _described(provider: Provider) -> dict[str, Any]:
    paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
    own = {name: f"{provider.url}{path}" for name, path in paths.items()}
    return {"issuer": provider.url, **own, **provider.metadata}


def _server(provider: Provider, app: Flask) -> AuthorizationServer:
    server = AuthorizationServer(app, query_client=_client, save_token=lambda token, asked: None)
    tokens = _Tokens(require_nonce=True)
    tokens.provider = provider
    server.register_grant(type("Grant", (_Grant,), {"provider": provider}), [CodeChallenge(required=True), tokens])
    return server


class _Grant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar = ["client_secret_basic", "client_secret_post"]
    provider: Provider

    def save_authorization_code(self, code: str, asked: Any) -> None:
        given = asked.payload.data
        self.provider.codes[code] = Code(
            code,
            given["redirect_uri"],
            given["scope"],
            given.get("nonce"),
            given.get("code_challenge"),
            given.get("code_challenge_method"),
            _auth_time(self.provider, given),
            dict(self.provider.person),
        )

    def query_authorization_code(self, code: str, client: Any) -> Code | None:
        return self.provider.codes.get(code)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        del self.provider.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: Code) -> Mapping[str, Any]:
        return authorization_code.person


class _Tokens(OpenIDCode):
    provider: Provider

    def exists_nonce(self, nonce: str, asked: Any) -> bool:
        return False

    def get_client_claims(self, client: Any) -> dict[str, Any]:
        return {"iss": self.provider.url, "aud": [CLIENT_ID]}

    def resolve_client_private_key(self, client: Any) -> Any:
        return self.provider.signing

    def get_client_algorithm(self, client: Any) -> str:
        return self.provider.algorithm

    def get_encode_header(self, client: Any) -> dict[str, Any]:
        return {"alg": self.provider.algorithm, "kid": self.provider.signing.kid}

    def generate_user_info(self, user: Mapping[str, Any], scope: str) -> Mapping[str, Any]:
        return user

    def encode_id_token(self, token: Any, asked: Any) -> str:
        signed: str = super().encode_id_token(token, asked)
        if self.provider.forge is None:
            return signed
        opened = jwt.decode(signed, self.provider.signing, [self.provider.algorithm])
        return self.provider.forge(dict(opened.header), dict(opened.claims))


@contextmanager
def running(provider: Provider) -> Iterator[None]:
    """Serve it; its `url` is known then."""
    server = make_server("127.0.0.1", 0, application(provider), threaded=True, request_handler=QuietRequests)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class QuietRequests(WSGIRequestHandler):
    """A server for tests has nothing to say."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


def _client(client_id: str) -> OneClient | None:
    return OneClient() if secrets.compare_digest(client_id, CLIENT_ID) else None


def _auth_time(provider: Provider, given: Mapping[str, str]) -> int:
    asks_again = given.get("prompt") == "login" and not provider.ignores_prompt
    return int(time.time()) if asks_again or provider.auth_time is None else provider.auth_time
