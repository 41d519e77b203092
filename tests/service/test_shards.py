"""When the directory is complete, by what the operators' shards have said."""

import pytest

from gitpulse_service.contract import is_complete


@pytest.mark.parametrize(
    ("said", "complete"),
    [
        ([], False),
        ([b"1"], True),
        ([b"2"], False),
        ([b"2", b"2"], True),
        ([b"2", b"3"], False),  # one more is to come, and one of them does not know yet
        ([b"3", b"2", b"3"], True),
        ([b"1", b"1"], True),  # one that is no more
    ],
)
def test_all_shards_have_said_so(said, complete):
    assert is_complete(said) is complete
