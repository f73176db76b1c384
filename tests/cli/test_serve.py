"""``serve`` and ``backup``: their errors, logs and metrics."""

from __future__ import annotations

import json
import logging
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trustme
from click.testing import CliRunner, Result

from trio_dispatch.cli.app.group import cli
from trio_dispatch.cli.serving.addresses import TcpAddress, UnixAddress, parse_address
from trio_dispatch.cli.serving.logs import JsonFormatter, TextFormatter
from trio_dispatch.service import open_store

SECRET = "s3cret-that-is-never-shown"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)])


def refused(*arguments: str | Path, status: int = 1) -> str:
    """The one line that a command prints when it fails."""
    result = run(*arguments)
    assert result.exit_code == status, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert result.output.rstrip().endswith(line)
    assert SECRET not in result.output
    return line


def refused_to_serve(*arguments: str | Path, status: int = 1) -> str:
    return refused("serve", "--listen", "127.0.0.1:0", *arguments, status=status)


# Invalid options.


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        why = "the port is in use"
        assert refused("serve", "--listen", address) == f"Error: cannot listen on {address}: {why}"
        line = refused_to_serve("--metrics", address)
        assert line == f"Error: cannot serve metrics on {address}: {why}"


def test_a_socket_in_use(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = refused("serve", "--listen", f"unix:{tmp_path / 'file'}")
    assert line == (
        f"Error: cannot listen on unix:{tmp_path / 'file'}: the path exists and is not a socket"
    )


def test_a_file_that_is_not_a_database_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk. " * 100)
    assert "is not an SQLite database" in refused_to_serve("--db", path)
    assert path.read_text() == "Buy milk. " * 100


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "example.com"])
def test_other_machines_are_not_served_without_a_key(host: str) -> None:
    line = refused("serve", "--listen", "127.0.0.1:0", "--listen", f"{host}:0", status=2)
    assert f"--listen {host}:0 serves other machines, which requires a key" in line


@pytest.mark.parametrize("text", ["50051", "localhost:", ":1", "a:b", "1.2.3.4:99999", "h:-1", ""])
@pytest.mark.parametrize("option", ["--listen", "--metrics"])
def test_an_invalid_address(option: str, text: str) -> None:
    line = refused("serve", option, text, status=2)
    assert f"Invalid value for '{option}': {text!r} is not HOST:PORT" in line


@pytest.mark.parametrize("text", ["unix:", "unix:/run/"])
def test_an_invalid_socket_path(text: str) -> None:
    assert repr(text) in refused("serve", "--listen", text, status=2)


def test_addresses() -> None:
    assert parse_address("[::1]:5") == TcpAddress("::1", 5)
    assert str(parse_address("[::1]:5")) == "[::1]:5"
    assert parse_address("unix:a/b") == UnixAddress(Path("a/b"))
    assert all(TcpAddress(host, 1).local for host in ("localhost", "127.9.9.9", "::1"))
    assert not any(TcpAddress(host, 1).local for host in ("10.0.0.1", "x", "::", "0.0.0.0"))


def test_an_unknown_log_format() -> None:
    assert "'xml' is not one of text, json" in refused_to_serve("--log-format", "xml", status=2)


def test_backups_need_a_database_in_a_file(tmp_path: Path) -> None:
    for db in ([], ["--db", "postgresql://localhost/x"]):
        line = refused_to_serve("--backup-dir", tmp_path / "backups", *db, status=2)
        assert "--backup-dir requires --db FILE" in line
    db = ["--db", str(tmp_path / "x.db")]
    line = refused_to_serve("--backup-dir", tmp_path / "missing" / "backups", *db)
    assert "backups" in line


def test_keys_and_a_file_of_keys_exclude_each_other(tmp_path: Path) -> None:
    line = refused_to_serve("--keys", tmp_path / "keys.toml", "--key", SECRET, status=2)
    assert "--keys and --key (or DISPATCH_SERVICE_KEYS) exclude each other" in line


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        (None, 1, "No such file"),
        ("", 2, "no tables"),
        (f'[[keys]]\nkey = "{SECRET}', 2, "Unterminated string"),
        (f'[[keys]]\nkey = "{SECRET}"\nrights = ["admin"]', 2, "rights"),
        (f'[[keys]]\nkey = "{SECRET}"\n[[keys]]\nkey = "{SECRET}"', 2, "are the same"),
    ],
)
def test_an_invalid_file_of_keys(
    tmp_path: Path, text: str | None, status: int, message: str
) -> None:
    path = tmp_path / "keys.toml"
    if text is not None:
        path.write_text(text)
    line = refused_to_serve("--keys", path, status=status)
    assert message in line
    assert str(path) in line


def test_a_key_that_metadata_cannot_carry() -> None:
    assert "'key 1'" in refused_to_serve("--key", f" {SECRET}", status=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tls-cert", "x"], "--tls-cert requires --tls-key"),
        (["--tls-key", "x"], "--tls-key requires --tls-cert"),
        (["--tls-client-ca", "x"], "--tls-client-ca requires --tls-cert and --tls-key"),
    ],
)
def test_tls_options_that_require_each_other(options: list[str], message: str) -> None:
    assert refused_to_serve(*options, status=2).startswith(f"Error: {message}")


def test_invalid_certificates(tmp_path: Path) -> None:
    good, other = trustme.CA().issue_cert("localhost"), trustme.CA().issue_cert("localhost")
    cert, key, wrong, text = (tmp_path / name for name in ("cert", "key", "wrong", "text"))
    good.cert_chain_pems[0].write_to_path(cert)
    good.private_key_pem.write_to_path(key)
    other.private_key_pem.write_to_path(wrong)
    text.write_text("no certificate")
    tls: list[str | Path] = ["--tls-cert", cert, "--tls-key"]
    missing = refused_to_serve(*tls, tmp_path / "none", status=2)
    assert missing == f"Error: {tmp_path / 'none'} cannot be read: No such file or directory"
    for file in (wrong, text):
        line = refused_to_serve(*tls, file, status=2)
        assert line.startswith(
            f"Error: --tls-cert {cert} with --tls-key {file} is not a certificate"
        )
    line = refused_to_serve(*tls, key, "--tls-client-ca", text, status=2)
    assert line.startswith(f"Error: --tls-client-ca {text} has no certificates in PEM")


def test_an_encrypted_private_key_is_refused_without_a_prompt(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    good = trustme.CA().issue_cert("localhost")
    cert, key = tmp_path / "cert", tmp_path / "key"
    good.cert_chain_pems[0].write_to_path(cert)
    plain = serialization.load_pem_private_key(good.private_key_pem.bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    line = refused_to_serve("--tls-cert", cert, "--tls-key", key, status=2)
    assert "the private key is encrypted" in line


def test_help_and_version() -> None:
    assert run("--version").output.startswith("trio-dispatch, version ")
    for command in ("serve", "backup"):
        assert run(command, "--help").exit_code == 0


# Backups.


@pytest.fixture
def db(tmp_path: Path) -> Path:
    async def make() -> None:
        async with open_store(tmp_path / "dispatches.db"):
            pass

    trio.run(make)
    return tmp_path / "dispatches.db"


def test_a_missing_file_of_keys(tmp_path: Path) -> None:
    said = refused("serve", "--listen", "127.0.0.1:0", "--keys", tmp_path / "none.toml")
    assert f"--keys {tmp_path / 'none.toml'} cannot be read: No such file" in said


def test_a_backup(db: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    done = run("backup", "--db", db, copy)
    assert (done.exit_code, done.output) == (0, f"copied {db} to {copy}\n")
    assert {file.name for file in tmp_path.iterdir()} == {"dispatches.db", "copy.db"}
    first = copy.read_bytes()
    assert "exists; a backup does not replace a file" in refused("backup", "--db", db, copy)
    assert copy.read_bytes() == first
    copy.write_text("what was there before")
    assert run("backup", "--force", "--db", db, copy).exit_code == 0
    assert copy.read_bytes() == first


def test_a_backup_of_something_else(db: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert f"there is no database {tmp_path / 'x'}" in refused(
        "backup", "--db", tmp_path / "x", copy
    )
    text = tmp_path / "text"
    text.write_text("Buy milk. " * 100)
    assert f"{text} cannot be read: file is not a database" in refused("backup", "--db", text, copy)
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE cookies (x)")
    connection.close()
    assert "not of a dispatch service" in refused("backup", "--db", other, copy)
    assert not copy.exists()


def test_a_backup_that_cannot_be_written(db: Path, tmp_path: Path) -> None:
    assert "cannot be written" in refused("backup", "--db", db, tmp_path / "nowhere" / "copy.db")
    assert "is a directory" in refused("backup", "--force", "--db", db, tmp_path, status=2)
    assert "is the database itself" in refused("backup", "--force", "--db", db, db)
    assert db.stat().st_size > 0


def test_a_damaged_database_makes_no_backup(db: Path, tmp_path: Path) -> None:
    content = bytearray(db.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    db.write_bytes(content)
    before = {file.name for file in tmp_path.iterdir()}
    line = refused("backup", "--db", db, tmp_path / "copy.db")
    assert "the copy is damaged" in line or "malformed" in line
    assert {file.name for file in tmp_path.iterdir()} == before


# Logs.


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {
            "name": "a.b",
            "levelno": 20,
            "levelname": "INFO",
            "msg": message,
            "created": 1.5,
            **fields,
        }
    )
    assert made.created == 1.5
    return made


def test_a_line_of_json() -> None:
    line = JsonFormatter().format(record("ü\nx", method="Get", duration=0.5, caller=None))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "logger": "a.b",
        "message": "ü\nx",
        "method": "Get",
        "duration": 0.5,
    }


def test_a_line_of_text() -> None:
    line = TextFormatter().format(record("done", caller="site 1", n=5, odd='a"\n', empty=""))
    expected = r'done caller="site 1" n=5 odd="a\"\n" empty=""'
    assert line == f"1970-01-01T00:00:01.500Z INFO    {expected}"
    assert "\n" not in TextFormatter().format(record("one\ntwo"))


def test_a_traceback_is_logged() -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        failed = record("failed", exc_info=sys.exc_info())
    assert "ZeroDivisionError" in json.loads(JsonFormatter().format(failed))["exception"]
    assert "ZeroDivisionError" in TextFormatter().format(failed)
