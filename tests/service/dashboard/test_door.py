"""Who looks without having signed in: somebody at this machine, where nothing wants a token; nobody else."""

from __future__ import annotations

import httpx2
import pytest

from gitpulse_service.store import tokens
from harness.visitors import dashboard

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HERE = "http://127.0.0.1:8080"


async def ask(engine, url=f"{HERE}/who/", *, peer="127.0.0.1", tokens_required=False, **headers):
    app = dashboard(engine, tokens_required=tokens_required)
    transport = httpx2.ASGITransport(app=app, client=(peer, 1234))
    async with httpx2.AsyncClient(transport=transport) as client:
        return await client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("peer", "url"),
    [("127.0.0.1", HERE), ("127.0.0.1", "http://localhost:8080"), ("::1", "http://[::1]:8080")],
)
async def test_somebody_at_this_machine_sees_all(engine, peer, url):
    answer = await ask(engine, f"{url}/who/", peer=peer)
    assert answer.json() == {"name": None, "teams": "all"}


async def closed(answer):
    assert answer.status_code == 403, answer.text
    for words in ("Nobody can sign in yet", "GITPULSE_OIDC_ISSUER", "docs/sign-in.md"):
        assert words in answer.text
    assert "/signin" not in answer.text


@pytest.mark.parametrize("peer", ["192.0.2.1", "10.0.0.5", "2001:db8::1", "fe80::1", "0.0.0.0"])
async def test_somebody_elsewhere_sees_how_to_switch_it_on(engine, peer):
    await closed(await ask(engine, peer=peer))


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil_.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.0.2.1", "[::1", ""),
        *("gitpulse-receiver.x.svc:8080", "evil.example#@localhost", "evil.example/@localhost"),
    ],
)
async def test_a_name_that_another_site_may_have_is_not_ours(engine, host):
    """DNS rebinding: the browser is here, and the page is somebody else's."""
    await closed(await ask(engine, host=host))


@pytest.mark.parametrize(
    "header",
    ["x_forwarded_for", "x_forwarded_host", "x_forwarded_proto", "x_forwarded_port", "x_real_ip", "forwarded", "via"],
)
async def test_a_proxy_on_this_machine_brings_others(engine, header):
    await closed(await ask(engine, **{header: "127.0.0.1"}))


async def test_where_tokens_are_wanted_this_machine_is_no_exception(engine):
    """`kubectl port-forward` and a mesh's sidecar come from loopback too."""
    await closed(await ask(engine, tokens_required=True))
    secret = await tokens.create(engine, "csv", ["web"], None)
    shown = {"authorization": f"Bearer {secret}"}
    for peer in ("127.0.0.1", "192.0.2.1"):
        answer = await ask(engine, peer=peer, tokens_required=True, **shown)
        assert answer.json() == {"name": None, "teams": ["web"]}


async def test_where_nobody_can_sign_in_there_is_no_way_to(engine):
    for path in ("/signin", "/signin/callback", "/signout"):
        assert (await ask(engine, f"{HERE}{path}")).status_code == 404
