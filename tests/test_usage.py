"""Usage at the end of answers of the engines in use."""

from __future__ import annotations

import pytest

from core.usage import read_usage, without_borders

USAGE = b'"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}'
COUNTS = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


@pytest.mark.parametrize(
    ("ending", "found"),
    [
        (b"{%b}" % USAGE, COUNTS),
        (b'{"usage" : {"prompt_tokens":  12, "x": null}}', {"prompt_tokens": 12}),
        (b'data: {%b}\n\ndata: {"usage":null}\n\ndata: [DONE]\n\n' % USAGE, COUNTS),
        (b'{"usage":{"prompt_tokens":1}} {%b}' % USAGE, COUNTS),
        (
            b'{"usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}',
            {"prompt_tokens": 5, "cached_tokens": 4},
        ),
        (
            b'{"timings":{"cache_n":2,"prompt_ms":1.5,"predicted_per_second":99.9}}',
            {"cache_n": 2, "cached_tokens": 2, "prompt_ms": 1.5, "predicted_per_second": 99.9},
        ),
        (b'{"content":"\\"usage\\":{\\"prompt_tokens\\":9}"}', {}),
        (b'{"usage":{"prompt_tokens":12', {}),
        (b'{"usage":{"prompt_tokens":"many"}}', {}),
        (b'{"usage":{"prompt_tokens":true}}', {}),
        (b'{"usage":{"prompt_tokens":NaN}}', {}),
        (b'{"usage":[1]}', {}),
        (b'{"timings":{"a":"b"}}', {}),
        (b'{"usage":' + b"{" * 9000, {}),
        (b"", {}),
        (b"\xff\xfe" * 100, {}),
    ],
)
def test_what_is_found(ending: bytes, found: dict[str, float]) -> None:
    assert read_usage(b"", ending) == found


def test_usage_before_long_data_is_found() -> None:
    assert read_usage(b"{%b," % USAGE, b"0.1,0.2]}") == COUNTS


def test_usage_across_a_chunk_border_is_found() -> None:
    whole = b"{%b}" % USAGE
    for cut in range(1, len(whole)):
        chunks = b"%x\r\n%b\r\n%x;x=1\r\n%b\r\n0\r\n\r\n" % (
            cut,
            whole[:cut],
            len(whole) - cut,
            whole[cut:],
        )
        assert read_usage(b"", without_borders(chunks)) == COUNTS, cut
