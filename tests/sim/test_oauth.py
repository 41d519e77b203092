"""The simulator as identity provider, as GitLab's documentation has it, and Doorkeeper's errors.

See https://docs.gitlab.com/integration/openid_connect_provider/.
"""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import KeySet

from gitpulse_sim.people import Role

BACK = "https://dashboard.example.com/back"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def application(simulator):
    return simulator.world.add_application("GitPulse", [BACK], ["openid", "email", "read_user"])


@pytest.fixture
def ask(simulator, application):
    """Sends somebody to GitLab, who answers as the fields say; where they are sent then."""

    def ask(user="bob", **more):
        said = {
            "client_id": application.uid,
            "redirect_uri": BACK,
            "response_type": "code",
            "scope": "openid email",
            "state": "s&t",
            "nonce": "n",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **more,
        }
        url, data = f"{simulator.url}/oauth/authorize", {"user": user} if user else {"deny": "1"}
        assert requests.get(url, params=said, timeout=9).status_code == 200
        return requests.post(url, data={**said, **data}, timeout=9, allow_redirects=False)

    return ask


@pytest.fixture
def exchange(simulator, application):
    def exchange(code, *, secret=application.secret, **more):
        said = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
        url = f"{simulator.url}/oauth/token"
        return requests.post(url, data=said | more, auth=(application.uid, secret), timeout=9)

    return exchange


def query(answer):
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"].startswith(f"{BACK}?")
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


@pytest.fixture
def code(ask):
    return query(ask())["code"]


def claims(simulator, token):
    keys = requests.get(f"{simulator.url}/oauth/discovery/keys", timeout=9).json()
    return jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims


def test_its_configuration_says_where_all_is(simulator):
    found = requests.get(f"{simulator.url}/.well-known/openid-configuration", timeout=9).json()
    assert found["issuer"] == simulator.url
    assert found["authorization_endpoint"] == f"{simulator.url}/oauth/authorize"
    assert found["jwks_uri"] == f"{simulator.url}/oauth/discovery/keys"
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
    assert found["code_challenge_methods_supported"] == ["plain", "S256"]
    assert {"openid", "profile", "email", "api"} <= {*found["scopes_supported"]}
    (key,) = requests.get(found["jwks_uri"], timeout=9).json()["keys"]
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")


def test_the_page_offers_everybody_and_keeps_what_was_asked(simulator, application):
    asked = {"client_id": application.uid, "redirect_uri": BACK, "response_type": "code", "scope": "openid"}
    url = f"{simulator.url}/oauth/authorize"
    page = requests.get(url, params={**asked, "state": '"><script>'}, timeout=9).text
    assert 'value="alice"' in page
    assert 'value="fatima"' in page
    assert "&quot;&gt;&lt;script&gt;" in page
    assert "<script>" not in page


def test_a_code_becomes_a_token_once(simulator, ask, exchange):
    back = query(ask())
    assert back["state"] == "s&t"
    first = exchange(back["code"])
    assert first.headers["cache-control"] == "no-store"
    found = first.json()
    assert (found["token_type"], found["expires_in"], found["scope"]) == ("Bearer", 7200, "openid email")
    assert {"access_token", "refresh_token", "created_at", "id_token"} <= found.keys()
    again = exchange(back["code"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_claims_of_an_id_token_and_of_the_user(simulator, application, code, exchange):
    world = simulator.world
    below = world.add_group("site", parent=world.groups[1])
    token = exchange(code).json()
    found = claims(simulator, token["id_token"])
    assert (found["iss"], found["aud"], found["sub"]) == (simulator.url, application.uid, "2")
    assert (found["nonce"], found["exp"] - found["iat"]) == ("n", 120)
    both = {"name": "Bob Brandt", "nickname": "bob", "preferred_username": "bob"}
    both |= {"email": "bob@acme.example", "email_verified": True, "profile": f"{simulator.url}/bob"}
    assert both.items() <= found.items()
    assert found["groups_direct"] == ["acme"]
    assert "groups" not in found

    bearer = {"authorization": f"Bearer {token['access_token']}"}
    told = requests.get(f"{simulator.url}/oauth/userinfo", headers=bearer, timeout=9).json()
    assert both.items() <= told.items()
    assert told["groups"] == ["acme", below.full_path]
    assert told[f"https://gitlab.org/claims/groups/{Role.MAINTAINER.name.lower()}"] == ["acme"]
    assert not told.keys() & {"groups_direct", "auth_time", "https://gitlab.org/claims/groups/owner"}
    assert (told["sub"], told["sub_legacy"]) == ("2", found["sub_legacy"])


def test_without_the_scope_email_only_the_public_address_is_told(simulator, ask, exchange):
    token = exchange(query(ask(scope="openid"))["code"]).json()
    assert not claims(simulator, token["id_token"]).keys() & {"email", "email_verified"}


def test_without_openid_there_is_no_id_token_and_no_user(simulator, ask, exchange):
    token = exchange(query(ask(scope="read_user"))["code"]).json()
    assert "id_token" not in token
    bearer = {"authorization": f"Bearer {token['access_token']}"}
    url = f"{simulator.url}/oauth/userinfo"
    assert requests.get(url, headers=bearer, timeout=9).status_code == 403
    wrong = requests.get(url, headers={"authorization": "Bearer no"}, timeout=9)
    assert wrong.status_code == 401
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]


def test_whoever_denies_is_sent_back_too(ask):
    assert query(ask(user=None)) == {
        "error": "access_denied",
        "error_description": "The resource owner or authorization server denied the request.",
        "state": "s&t",
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"client_id": "x"}, "Client authentication failed"),
        ({"redirect_uri": f"{BACK}/x"}, "redirect URI included is not valid"),
        ({"response_type": "token"}, "does not support this response type"),
        ({"scope": "openid api"}, "requested scope is invalid"),
        ({"scope": ""}, "requested scope is invalid"),
        ({"code_challenge_method": "S512"}, "must be plain or S256"),
    ],
)
def test_a_mistake_is_shown_by_gitlab_and_sent_to_nobody(ask, more, words):
    answer = ask(**more)
    assert answer.status_code == 200
    assert words in answer.text
    assert "location" not in answer.headers


def test_whoever_is_not_there_cannot_sign_in(ask):
    answer = ask(user="zed")
    assert (answer.status_code, answer.json()["error"].startswith("there is no user zed")) == (400, True)


@pytest.mark.parametrize(
    ("more", "status", "error"),
    [
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": ""}, 400, "invalid_grant"),
        ({"redirect_uri": f"{BACK}/x"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"secret": "wrong"}, 401, "invalid_client"),
    ],
)
def test_a_code_is_for_whoever_asked_for_it(code, exchange, more, status, error):
    answer = exchange(code, **more)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_code_ends(simulator, code, exchange):
    simulator.world.clock.advance(601)
    assert exchange(code).json()["error"] == "invalid_grant"


def test_an_application_is_made_by_a_control_door(simulator, ask):
    asked = {"name": "Mine", "redirect_uris": [BACK]}
    made = requests.post(f"{simulator.url}/-/sim/application", json=asked, timeout=9).json()
    assert made["secret"].startswith("gloas-")
    assert query(ask(client_id=made["application_id"]))["code"]
