"""Settings of signing in: all or none, and none that would let others listen."""

from __future__ import annotations

import pytest

from gitpulse_service.contract import SettingsError
from gitpulse_service.dashboard.config import SignIn, is_loopback
from gitpulse_service.receiver.app import create_app
from gitpulse_service.settings import ServiceSettings

WHOLE = {
    "oidc_issuer": "https://gitlab.example.com/",
    "oidc_client_id": "us",
    "oidc_client_secret": "hush-hush",
    "dashboard_url": "https://gitpulse.example.com",
    "dashboard_admins": "Ann,  group:Acme/Leads",
}


def of(**fields):
    return SignIn.of(ServiceSettings.model_validate(WHOLE | fields))


def test_without_any_nobody_signs_in():
    assert SignIn.of(ServiceSettings.model_validate({})) is None


def test_with_all_they_do():
    found = of()
    assert (found.issuer, found.url) == ("https://gitlab.example.com", "https://gitpulse.example.com")
    assert found.admins == {"ann", "group:acme/leads"}
    assert (found.cookie, found.secure) == ("__Host-gitpulse", True)
    assert "hush" not in repr(found)
    here = of(dashboard_url="http://localhost:8080")
    assert (here.cookie, here.secure) == ("gitpulse", False)


@pytest.mark.parametrize("name", sorted(WHOLE.keys() - {"dashboard_admins"}))
def test_half_of_it_is_refused_by_name(name):
    with pytest.raises(SettingsError, match=f"^GITPULSE_{name.upper()}: is not set; signing in needs all of"):
        of(**{name: ""})


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_one_of_them_wants_the_others(name):
    with pytest.raises(SettingsError, match="is not set"):
        SignIn.of(ServiceSettings.model_validate({name: WHOLE[name]}))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"oidc_issuer": "http://gitlab.example.com"}, "GITPULSE_OIDC_ISSUER: must begin with https://"),
        ({"oidc_issuer": "gitlab.example.com"}, "GITPULSE_OIDC_ISSUER: must be like https://"),
        ({"oidc_issuer": "https://user@gitlab.example.com"}, "GITPULSE_OIDC_ISSUER: must be like"),
        ({"oidc_issuer": "https://gitlab.example.com?a=b"}, "GITPULSE_OIDC_ISSUER: must be like"),
        ({"oidc_issuer": "https://[::1"}, "GITPULSE_OIDC_ISSUER: is no URL"),
        ({"oidc_issuer": "https://gitlab.example.com:x"}, "GITPULSE_OIDC_ISSUER: is no URL"),
        ({"dashboard_url": "http://gitpulse.example.com"}, "GITPULSE_DASHBOARD_URL: must begin with https://"),
        ({"dashboard_url": "https://[::1"}, "GITPULSE_DASHBOARD_URL: is no URL"),
        ({"dashboard_url": "https://gitpulse.example.com/in"}, "GITPULSE_DASHBOARD_URL: must be a host without a path"),
        ({"api_tokens_required": False}, "GITPULSE_API_TOKENS_REQUIRED: false"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(fields, says):
    with pytest.raises(SettingsError) as refused:
        of(**fields)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(says)


def test_a_receiver_does_not_start_with_half_of_it(capsys, monkeypatch, service_environment):
    monkeypatch.setenv("GITPULSE_OIDC_ISSUER", "https://gitlab.example.com")
    with pytest.raises(SystemExit) as ended:
        create_app(metrics_port=None)
    assert ended.value.code == 2
    assert "GITPULSE_OIDC_CLIENT_ID: is not set" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_our_own_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "::", "0.0.0.0", "2130706433"]
)
def test_another_one(host):
    assert not is_loopback(host)
