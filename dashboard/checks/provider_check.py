"""The provider of OpenID Connect: does it answer, is it the one that is meant, and can what it signs be checked.

The key decision: its documents are read by what reads them at a sign-in (`dashboard.access.oidc.provider`), within the
same bounds; so what is well here is well there. Nobody is signed in, and nothing is told to the provider.
"""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.access.oidc.errors import Fault, ProviderAwayError
from dashboard.access.oidc.id_token import count_usable
from dashboard.access.oidc.provider import Metadata, Provider
from dashboard.settings import DashboardSettings
from service.checks.finding import Finding, failed, ok, warning

WHAT = "provider"
_SENT_BY_US = frozenset({"client_secret_basic", "client_secret_post"})
_REMEDIES = {
    Fault.NETWORK: "see VOCERO_OIDC_ISSUER, the way out of this network (HTTPS_PROXY), and whether the provider runs",
    Fault.CERTIFICATE: "REQUESTS_CA_BUNDLE=FILE with your authority's certificate; see this machine's clock too",
    Fault.ANSWER: "VOCERO_OIDC_ISSUER is the address that stands before /.well-known/openid-configuration",
    Fault.ISSUER: "set VOCERO_OIDC_ISSUER to exactly what the provider calls itself, to the last slash",
    Fault.ENDPOINTS: "the provider must name addresses with https; behind a proxy it has to be told its own address",
    Fault.KEYS: "give the provider a key that signs (RS256, ES256 or the like), and publish it",
}


def check_provider(settings: DashboardSettings) -> Iterator[Finding]:
    """Ask it, if one is set, for what a sign-in begins with."""
    if settings.oidc_issuer is None:
        return
    provider, metadata = Provider(settings.oidc_issuer), None
    try:
        metadata = provider.metadata()
        usable = count_usable(provider.keys())
    except ProviderAwayError as exc:
        yield failed(WHAT, exc.detail, _REMEDIES[exc.fault])
    else:
        if usable:
            keys = "one key" if usable == 1 else f"{usable} keys"
            yield ok(WHAT, f"it is the issuer that is meant, and its signatures can be checked ({keys})")
        else:
            yield failed(WHAT, "no key in its list can check a signature", _REMEDIES[Fault.KEYS])
    yield from _client(settings, metadata)


def _client(settings: DashboardSettings, metadata: Metadata | None) -> Iterator[Finding]:
    """What we show it of ourselves; whether it takes it is seen at the first sign-in alone."""
    methods = None if metadata is None else metadata.client_methods
    if settings.oidc_client_secret is None:
        said = "VOCERO_OIDC_CLIENT_SECRET is not set: there the dashboard is a public client, which PKCE alone protects"
        yield warning(WHAT, said, "set it, if the provider has given you one")
    elif methods is not None and not methods & _SENT_BY_US:
        yield failed(
            WHAT,
            "it takes no client secret as we send it",
            f"let it take {' or '.join(sorted(_SENT_BY_US))} of the client VOCERO_OIDC_CLIENT_ID",
        )
    else:
        yield ok(WHAT, "a client secret is set")
