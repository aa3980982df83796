"""The three cookies of the way in: the session's, the one that a sign-in must come with, and the provider's.

The key decisions:

* with https all are `__Host-` cookies, which no other name of our domain can plant; over http (this machine alone)
  browsers refuse those, and plain names take their place;
* no page of another site has a browser show them (`SameSite=Strict`), but for the one that remembers who went to a
  provider of OpenID Connect: it is the provider's page that sends them back (`Lax`). That one opens nothing.
"""

from __future__ import annotations

from flask import Request, Response

LOGIN_SECONDS = 3600
AWAY_SECONDS = 600


class Cookies:
    """Reads and writes them; `is_https`: browsers reach us by https alone."""

    def __init__(self, *, is_https: bool) -> None:
        self._is_https = is_https
        self.session_name = "__Host-vocero" if is_https else "vocero_session"
        self.login_name = "__Host-vocero-login" if is_https else "vocero_login"
        self.away_name = "__Host-vocero-away" if is_https else "vocero_away"

    def session_of(self, request: Request) -> str:
        """What the request shows as its session; "" if nothing."""
        return request.cookies.get(self.session_name, "")

    def login_token_of(self, request: Request) -> str:
        """The token that the request's sign-in page was given; "" if it was none."""
        return request.cookies.get(self.login_name, "")

    def away_of(self, request: Request) -> str:
        """What the browser was given when it went to the provider; "" if it was not."""
        return request.cookies.get(self.away_name, "")

    def set_session(self, response: Response, value: str) -> None:
        """Sign the browser in. It ends with the browser; when the session ends is the server's say."""
        self._set(response, self.session_name, value)

    def set_login_token(self, response: Response, value: str) -> None:
        """Give the browser the token that its sign-in must come with."""
        self._set(response, self.login_name, value, max_age=LOGIN_SECONDS)

    def set_away(self, response: Response, value: str) -> None:
        """Let the browser be known when the provider sends it back."""
        self._set(response, self.away_name, value, max_age=AWAY_SECONDS, samesite="Lax")

    def forget_session(self, response: Response) -> None:
        """Take the session's cookie back."""
        self._delete(response, self.session_name)

    def forget_login_token(self, response: Response) -> None:
        """Take the sign-in's token back."""
        self._delete(response, self.login_name)

    def _set(
        self, response: Response, name: str, value: str, *, max_age: int | None = None, samesite: str = "Strict"
    ) -> None:
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=self._is_https, httponly=True, samesite=samesite
        )

    def _delete(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._is_https, httponly=True, samesite="Strict")
