"""Any bytes, any headers: an answer of the contract, and never one that says the receiver is broken."""

import http.client

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from gitpulse_service.contract import WEBHOOK_PATH
from harness.receiver import SECRET, serving, settings

ANSWERS = {200, 400, 401, 404, 405, 413}
VALUE = st.binary(max_size=60).map(lambda b: b.translate(None, b"\r\n\0"))
NAMES = st.sampled_from(
    [
        "X-Gitlab-Token",
        "X-Gitlab-Event",
        "X-Gitlab-Instance",
        "Idempotency-Key",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "X-Hub-Signature-256",
        "Content-Type",
        "Content-Encoding",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["object_kind", "project", "x"]), inner)
    ),
    max_leaves=9,
)


@pytest.fixture(scope="module")
def connection(redis_process):
    with serving(settings(redis_process.url, max_body_bytes=5000, refused_limit="")) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        yield connection
        connection.close()


@hypothesis_settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)
@given(
    method=st.sampled_from(["POST"] * 5 + ["GET", "PUT", "PATCH"]),
    path=st.sampled_from(["", "/", "/abc"]) | st.binary(max_size=9).map(lambda b: "/" + b.hex("%")[:-3]),
    headers=st.lists(st.tuples(NAMES, VALUE), max_size=8),
    known=st.booleans(),
    body=st.binary(max_size=6000) | JSON.map(lambda value: repr(value).replace("'", '"').encode("utf-8", "replace")),
)
def test_no_request_is_answered_with_a_server_error(connection, method, path, headers, known, body):
    connection.putrequest(method, WEBHOOK_PATH + path)
    for name, value in headers:
        connection.putheader(name, value)
    if known:
        connection.putheader("X-Gitlab-Token", SECRET)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    answer.read()
    assert answer.status in ANSWERS
    if answer.getheader("connection") == "close":
        connection.close()
