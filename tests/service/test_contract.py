"""The wire contract: what one side seals, the other opens, and nobody else."""

import os

import pytest
from cryptography.exceptions import InvalidTag

from gitpulse_service.contract import (
    Access,
    Credential,
    InstallationKey,
    Route,
    SettingsError,
    SharedSettings,
    Team,
    Unsealable,
    hook_id,
    installation_id,
    seal,
    sentinels,
    unseal,
)

KEY = bytes(range(32))
ROUTE = Route(
    "hook",
    "team/website",
    "https://gitlab.example.com",
    (Credential(2, "new", b"k" * 32), Credential(1, "old")),
    require_signature=True,
)


def test_a_sealed_route_opens_to_itself_and_shows_nothing():
    sealed = seal(KEY, ROUTE)
    assert unseal(KEY, "hook", sealed) == ROUTE
    assert b"new" not in sealed
    assert b"website" not in sealed
    assert seal(KEY, ROUTE) != sealed  # a nonce of its own each time


@pytest.mark.parametrize(
    ("key", "hook", "change"),
    [
        pytest.param(os.urandom(32), "hook", lambda s: s, id="another installation"),
        pytest.param(KEY, "other", lambda s: s, id="moved to another hook"),
        pytest.param(KEY, "hook", lambda s: s[:-1] + bytes([s[-1] ^ 1]), id="changed"),
        pytest.param(KEY, "hook", lambda s: s[:5], id="cut off"),
        pytest.param(KEY, "hook", lambda s: b"", id="empty"),
    ],
)
def test_what_was_not_sealed_for_this_hook_does_not_open(key, hook, change):
    with pytest.raises(Unsealable, match="GITPULSE_INSTALLATION_KEY"):
        unseal(key, hook, change(seal(KEY, ROUTE)))


def test_a_team_opens_as_itself_alone():
    team = Team("website", namespace="team")
    sealed = seal(KEY, team)
    assert unseal(KEY, "team/website", sealed, Team) == team
    for place, kind in (("other/website", Team), ("team/website", Route), ("team/website", Access)):
        with pytest.raises(Unsealable) as refusal:
            unseal(KEY, place, sealed, kind)
        assert isinstance(refusal.value.__cause__, InvalidTag)


def test_a_credential_never_shows_its_secrets():
    assert "old" not in repr(ROUTE)
    assert "kkkk" not in repr(ROUTE)


def test_hook_ids_are_stable_unguessable_and_fit_a_path():
    first = hook_id(KEY, "uid", "project/1")
    assert first == hook_id(KEY, "uid", "project/1")
    assert (
        len(
            {
                first,
                hook_id(KEY, "uid", "project/2"),
                hook_id(KEY, "uid2", "project/1"),
                hook_id(os.urandom(32), "uid", "project/1"),
            }
        )
        == 4
    )
    assert set(first) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert len(first) == 32
    assert installation_id(KEY) != installation_id(os.urandom(32))


class Example(SharedSettings):
    installation_key: InstallationKey


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "GITPULSE_INSTALLATION_KEY: is not set"),
        ({"GITPULSE_INSTALLATION_KEY": "secret!"}, "GITPULSE_INSTALLATION_KEY: must be base64"),
        (
            {"GITPULSE_INSTALLATION_KEY": "c2VjcmV0"},
            "GITPULSE_INSTALLATION_KEY: must be 32 bytes in base64, not 6; make one with: openssl rand -base64 32",
        ),
        (
            {"GITPULSE_INSTALLATION_KEY": "A" * 43 + "=", "GITPULSE_REDIS_URL": "localhost"},
            "GITPULSE_REDIS_URL: must start with redis://, rediss://, redis+sentinel:// or unix://",
        ),
    ],
)
def test_a_wrong_setting_gives_one_line_that_names_it(monkeypatch, environment, says):
    for name in ("GITPULSE_INSTALLATION_KEY", "GITPULSE_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Example.load()
    assert str(caught.value) == says


def test_a_sentinel_url_says_whom_to_ask_and_how_to_log_in():
    assert sentinels("redis://127.0.0.1:6379/0") is None
    url = "redis+sentinel://ada:p%40ss%2Fword@one:1,[::1]:2,three/main/5?sentinel_password=s3cret"
    place = sentinels(url)
    assert (place.hosts, place.master) == ((("one", 1), ("::1", 2), ("three", 26379)), "main")
    assert place.options == {"username": "ada", "password": "p@ss/word", "db": 5}
    assert place.sentinel_options == {"password": "s3cret"}
    assert "p@ss" not in repr(place)
    assert "s3cret" not in repr(place)


def test_a_sentinel_url_with_tls_is_tls_to_both():
    place = sentinels("rediss+sentinel://one:1/main?ssl_ca_certs=/ca.crt")
    tls = {"ssl": True, "ssl_ca_certs": "/ca.crt"}
    assert place.options == {"username": None, "password": None, "db": 0, **tls}
    assert place.sentinel_options == tls


@pytest.mark.parametrize(
    "rest", ["", "one:1", "one:1/", "/main", "one:x/main", "one:1,,two:2/main", "one:1/main/x", "one:1/main/0/more"]
)
def test_a_sentinel_url_that_lacks_something_is_refused_with_its_shape(monkeypatch, rest):
    monkeypatch.setenv("GITPULSE_REDIS_URL", f"redis+sentinel://:hunter2@{rest}")
    with pytest.raises(SettingsError) as caught:
        SharedSettings.load()
    shape = "redis+sentinel://[user:password@]host:port,host:port/MASTER[/db]"
    assert str(caught.value) == f"GITPULSE_REDIS_URL: must be {shape}"


@pytest.mark.parametrize("option", ["socket_timeout", "ssl_ca_certs"])
def test_a_sentinel_urls_unknown_option_is_named(option):
    with pytest.raises(ValueError, match=f"not known here: {option}"):
        sentinels(f"redis+sentinel://one:1/main?{option}=1")


def test_an_access_opens_as_nothing_else_and_shows_no_token():
    access = Access("hook", "https://gitlab.example.com", "glpat-secret")
    sealed = seal(KEY, access)
    assert unseal(KEY, "hook", sealed, Access) == access
    assert b"glpat" not in sealed
    assert "glpat" not in repr(access)
    with pytest.raises(Unsealable):
        unseal(KEY, "hook", sealed)
    with pytest.raises(Unsealable):
        unseal(KEY, "hook", seal(KEY, ROUTE), Access)
