"""Requests that may be read in two ways, through each front and to the receiver alone: none becomes two deliveries.

Each holds a delivery named `outer` and, in what one reading takes for its body, another one named `inner` with the
right secret. Then comes a question for the receiver's health, so that whoever has understood it all hangs up.
"""

import pytest
from prometheus_client import REGISTRY

from harness.front import BODY, Front, caddy, get, nginx, post, statuses, stored
from harness.receiver import SECRET

INNER = post(BODY, name="inner", last=False)
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
ALL = CHUNK + INNER
CL = b"Content-Length: %d\r\n" % len(ALL)
TE = b"Transfer-Encoding: chunked\r\n"


def framed(headers, body=ALL):
    return post(body, name="outer", headers=headers, last=False)


SHORT = b"Content-Length: %d\r\n" % len(BODY)
LONG = b"Content-Length: %d\r\n" % (len(BODY) + len(INNER))
CASES = {
    "length, then te": framed(CL + TE),
    "te, then length": framed(TE + CL),
    "te twice": framed(CL + TE + TE),
    "te in pieces": framed(CL + b"Transfer-Encoding: chunked, identity\r\n"),
    "te unknown": framed(CL + b"Transfer-Encoding: xchunked\r\n"),
    "te before a blank": framed(CL + b"Transfer-Encoding : chunked\r\n"),
    "te after a tab": framed(CL + b"Transfer-Encoding:\tchunked\r\n"),
    "te after a vertical tab": framed(CL + b"Transfer-Encoding: \x0bchunked\r\n"),
    "te with underscore": framed(CL + b"Transfer_Encoding: chunked\r\n"),
    "te in a fold": framed(CL + b"X-Own: a\r\n Transfer-Encoding: chunked\r\n"),
    "te's value in a fold": framed(CL + b"Transfer-Encoding:\r\n chunked\r\n"),
    "te after a bare lf": framed(CL + b"X-Own: a\nTransfer-Encoding: chunked\r\n"),
    "te after a bare cr": framed(CL + b"X-Own: a\rTransfer-Encoding: chunked\r\n"),
    "te after nul": framed(CL + b"X-Own: a\x00\r\nTransfer-Encoding: chunked\r\n"),
    "te in nul": framed(CL + b"Transfer-Encoding: chu\x00nked\r\n"),
    "two lengths": framed(SHORT + LONG, BODY + INNER),
    "two lengths, the long one first": framed(LONG + SHORT, BODY + INNER),
    "two lengths in one": framed(b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY + INNER)), BODY + INNER),
    "length with a sign": framed(b"Content-Length: +%d\r\n" % len(BODY + INNER), BODY + INNER),
    "length below zero": framed(b"Content-Length: -1\r\n", BODY + INNER),
    "length with a blank inside": framed(b"Content-Length: 1 %d\r\n" % len(BODY), BODY + INNER),
    "length with underscore": framed(SHORT.replace(b"-", b"_") + LONG, BODY + INNER),
    "length in a fold": framed(LONG + b"X-Own: a\r\n " + SHORT, BODY + INNER),
    "chunk of too many digits": framed(TE, b"1%016x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + INNER),
    "chunk below zero": framed(TE, b"-1\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER),
    "chunk with a prefix": framed(TE, b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + INNER),
    "chunk whose extension has a bare lf": framed(
        TE, b"%x;a\nX\r\n%b\r\n0\r\n\r\n" % (len(BODY) + len(INNER), BODY + INNER)
    ),
}
SECRETLESS = {
    "underscores": b"X_Gitlab_Token: %b\r\n",
    "a fold before it": b"X-Own: a\r\n X-Gitlab-Token: %b\r\n",
    "nul before it": b"X-Gitlab-Token: \x00%b\r\n",
    "nul in its name": b"X-Gitlab-\x00Token: %b\r\n",
    "a blank after its name": b"X-Gitlab-Token : %b\r\n",
    "a bare cr before it": b"X-Own: a\rX-Gitlab-Token: %b\r\n",
}


@pytest.fixture(scope="module", params=["receiver", "nginx", "caddy"])
def asked(request, receiver_port, tmp_path_factory):
    """The receiver alone, then each front."""
    if request.param == "receiver":
        yield Front("receiver", receiver_port, None)
        return
    start = {"nginx": nginx, "caddy": caddy}[request.param]
    with start(tmp_path_factory.mktemp(request.param), receiver_port) as front:
        yield front


def heard():
    """Deliveries that the receiver has answered, of whatever outcome."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "gitlab_webhook_requests"
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


@pytest.mark.parametrize("case", CASES)
async def test_one_request_stays_one(asked, redis_url, case):
    before = heard()
    answers = statuses(await asked.send(CASES[case] + get("/api/v1/health")))
    assert answers
    assert heard() - before <= len(answers)  # nothing came to the receiver that the front has not sent as a request
    if asked.name == "caddy" and stored(redis_url):
        # It goes by the standard, where chunks outdo a length: `inner` is a request to itself as well.
        assert (answers, set(stored(redis_url))) == ([200, 200, 200], {"outer", "inner"})
    else:
        assert not stored(redis_url)


@pytest.mark.parametrize("case", SECRETLESS)
async def test_a_secret_under_another_name_is_none(asked, redis_url, case):
    delivery = post(token="", headers=SECRETLESS[case] % SECRET.encode())
    assert statuses(await asked.send(delivery))[0] in (400, 401)
    assert not stored(redis_url)
