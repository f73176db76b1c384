"""URLs of servers."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from trio_dispatch.grpc._url import Target, parse_url


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("grpc://example.com", Target("example.com")),
        ("grpc://example.com:50051", Target("example.com", 50051)),
        ("grpc://[::1]:1?ssl=false", Target("::1", 1, ssl=False)),
        ("grpc://h?ssl=on&keep_alive=0", Target("h", keep_alive=False)),
        (
            "grpc://h?keep_alive_interval_s=1.5&keep_alive_timeout_s=2",
            Target("h", keep_alive_interval=1.5, keep_alive_timeout=2.0),
        ),
        (
            (
                "grpc://h?ssl_root_certificates_path=/r&ssl_private_key_path=/k"
                "&ssl_certificate_chain_path=/c"
            ),
            Target(
                "h",
                root_certificates=Path("/r"),
                private_key=Path("/k"),
                certificate_chain=Path("/c"),
            ),
        ),
    ],
)
def test_good_urls(url: str, target: Target) -> None:
    assert parse_url(url) == target


def test_authority() -> None:
    assert parse_url("grpc://[::1]:1").authority == "[::1]:1"
    assert parse_url("grpc://h").authority == "h:443"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("h:1", "the scheme is 'h'.*expected 'grpc'"),
        ("http://h", "the scheme is 'http'"),
        ("", "the scheme is ''"),
        ("grpc://", "the host is missing"),
        ("grpc://:1", "the host is missing"),
        ("grpc://h:0", "the port is 0"),
        ("grpc://h:65536", "[Pp]ort out of range"),
        ("grpc://h:x", "[Pp]ort"),
        ("grpc://[::1", "IPv6"),
        ("grpc://me@h", "a user is not allowed"),
        ("grpc://me:pw@h", "a user is not allowed"),
        ("grpc://h/", "remove '/'"),
        ("grpc://h/path", "remove '/path'"),
        ("grpc://h#x", "remove '#x'"),
        ("grpc://h?what=1", "the parameter 'what' is unknown, expected one of ssl,"),
        ("grpc://h?ssl", "param=value"),
        ("grpc://h?ssl=maybe", "'ssl' is 'maybe', expected true, 1, on, false, 0 or off"),
        ("grpc://h?ssl=true&ssl=true", "'ssl' is repeated"),
        ("grpc://h?keep_alive_interval_s=0", "expected a positive number"),
        ("grpc://h?keep_alive_interval_s=inf", "expected a positive number"),
        ("grpc://h?keep_alive_timeout_s=x", "'keep_alive_timeout_s' is 'x'"),
        ("grpc://h?ssl_root_certificates_path=", "PEM file"),
        ("grpc://h?ssl=false&ssl_root_certificates_path=/r", "not allowed with ssl=false"),
        ("grpc://h?ssl_private_key_path=/k", "must be given together"),
    ],
)
def test_bad_urls(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "grpc://me:hunter2@h",
        "grpc://me:a@hunter2@h",
        "grpc://me:a/hunter2@h:1",
        "grpc://me:a?hunter2@h:1",
        "grpc://me:a#hunter2@h:1",
        "grpc://me:hunter2@h?ssl_root_certificates_path=/a@b",
        "grpc://me:hunter2\n@h",
        "grpc:me:hunter2@h",
        "me:hunter2@h:50051",
        "hunter2@h",
        "http://me:hunter2@h",
        "grpc://h?key=hunter2",
        "grpc://h?ssl=false&password=hunter2",
    ],
)
def test_a_secret_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"\*\*\*") as caught:
        parse_url(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_an_at_sign_in_the_path_of_a_file() -> None:
    target = parse_url("grpc://h?ssl_root_certificates_path=/home/me@work/roots.pem")
    assert target.root_certificates == Path("/home/me@work/roots.pem")
    with pytest.raises(ValueError, match="/home/me@work"):
        parse_url("grpc://h?ssl=false&ssl_root_certificates_path=/home/me@work/roots.pem")
