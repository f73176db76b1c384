"""What daily users of other commands try: option order, short URLs, contexts, near misses."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import click
import pytest

from tests.helpers.commanding import KEY, PROGRAM, Cli, ServiceThread
from tests.helpers.reporting import report_about, store_reports
from trio_dispatch import TargetIds
from trio_dispatch.cli.app.nearest import did_you_mean
from trio_dispatch.cli.app.settings import complete_url
from trio_dispatch.testing import make_dispatch

CREATE = ("create", "A", "-t", "1", "-s", "now", "-d", "1h")


# Output.


def test_list_shows_payloads_in_a_few_words(cli: Cli, service_thread: ServiceThread) -> None:
    long = {"power_kw": 5.5, "mode": "eco", "note": "x" * 100}
    service_thread.put(make_dispatch(1, payload=long), make_dispatch(2, payload={}))
    heading, first, second = cli.ok("list", "--ascending").splitlines()
    assert heading.endswith("PAYLOAD")
    brief = first[heading.index("PAYLOAD") :]
    assert brief.startswith("power_kw=5.5, mode=eco, note=xxx")
    assert brief.endswith("…")
    assert len(brief) == 40
    assert len(second) < heading.index("PAYLOAD")


def test_wide_output_is_complete(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, payload={"note": "x" * 100, "list": [1, {"a": None}]}))
    assert (
        cli.ok("list", "-o", "wide")
        .rstrip()
        .endswith(json.dumps({"note": "x" * 100, "list": [1, {"a": None}]}))
    )


def test_csv_output_is_a_plan_without_differences(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1, payload={"power_kw": 5}), make_dispatch(2))
    plan = cli.directory / "plan.csv"
    plan.write_text(cli.ok("list", "-o", "csv"), newline="")
    done = cli("diff", str(plan))
    assert done.exit_code == 0, done.output


def test_json_is_short_for_output_json(cli: Cli, service_thread: ServiceThread) -> None:
    service_thread.put(make_dispatch(1))
    for command in (["list"], ["get", "1"], ["timeline", "--from", "2026-01-01"]):
        assert cli.ok(*command, "--json") == cli.ok(*command, "--output", "json")
        assert cli.ok(*command, "-o", "table") == cli.ok(*command)
    said = cli.fails(2, "list", "--json", "-o", "csv")
    assert "--json and --output csv exclude each other" in said
    assert "'csv' is not one of table, json" in cli.fails(2, "get", "1", "-o", "csv")


def test_the_environment_chooses_the_output(
    cli: Cli, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_thread.put(make_dispatch(1))
    monkeypatch.setenv("DISPATCH_OUTPUT", "json")
    assert json.loads(cli.ok("list"))["id"] == 1


def test_list_says_that_a_microgrid_has_no_dispatches(
    cli: Cli, service_thread: ServiceThread
) -> None:
    service_thread.put(make_dispatch(1))
    said = cli("list", "-m", "404").stderr
    assert said.startswith("Note: microgrid 404 has no dispatches at all: check --microgrid\n")
    assert cli("list", "--type", "NONE").stderr.startswith("0 dispatches in microgrid 1; ")
    assert cli("list", "--id", "7").stderr.startswith("0 dispatches in microgrid 1; ")


def test_the_help_lists_the_connection_once_and_last(cli: Cli) -> None:
    assert "--url, --microgrid and --output" in cli.ok("--help")
    for command in (["list"], ["create"], ["timeline"]):
        help = cli.ok(*command, "--help")
        sections = re.findall(r"^(\w[^\n]*):$", help, re.MULTILINE)
        assert sections[-1].startswith("Connection and output")
        assert len(re.findall(r"^ +-u, --url", help, re.MULTILINE)) == 1


# Options before the command.


def test_shared_options_may_come_before_the_command(
    cli: Cli, service_thread: ServiceThread
) -> None:
    service_thread.put(make_dispatch(1))
    expected = cli.ok("list", "-m", "1", "--json", "--timezone", "UTC")
    for before in (
        ("-m", "1", "--json", "--timezone", "UTC"),
        ("-m1", "-o", "json", "--timezone=UTC"),
        ("--microgrid=1", "-ojson", "--timezone", "UTC"),
    ):
        assert cli.ok(*before, "list") == expected
    # What follows the command has precedence.
    assert "3 is" not in cli.ok("-m", "3", "list", "-m", "1", "--json")
    assert cli.ok("-m", "3", "list", "-m", "1", "--json") == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lst",), "no such command: 'lst': did you mean list?; see trio-dispatch --help"),
        (("creat",), "no such command: 'creat': did you mean create?; see trio-dispatch --help"),
        (("xyzzy",), "no such command: 'xyzzy'; see trio-dispatch --help"),
        (
            ("--microgird", "1", "list"),
            "no such option here: --microgird: did you mean --microgrid?; see trio-dispatch --help",
        ),
        (
            ("--sort", "start", "list"),
            (
                "no such option here: --sort; the options of a command follow it; "
                "see trio-dispatch --help"
            ),
        ),
        (("-m", "1"), "no command after -m; see trio-dispatch --help"),
        (
            ("list", "--sort", "creatd"),
            (
                "Invalid value for '--sort': 'creatd' is not one of start, created, updated: did "
                "you mean created?; see trio-dispatch list --help"
            ),
        ),
        (
            (*CREATE, "--frequency", "dayly"),
            (
                "Invalid value for '--frequency': unknown frequency 'dayly': did you mean daily?; "
                "see trio-dispatch create --help"
            ),
        ),
        (
            ("list", "-m", "0"),
            (
                "Invalid value for '--microgrid' / '-m' (env var: 'DISPATCH_MICROGRID_ID'): '0' is "
                "not a microgrid id: ids begin at 1; see trio-dispatch list --help"
            ),
        ),
        (
            ("list", "--url", "my service"),
            (
                "--url 'my service' is neither a URL nor HOST:PORT: use grpc://HOST:PORT, with "
                "?ssl=false for a service without TLS; see trio-dispatch list --help"
            ),
        ),
    ],
)
def test_a_near_miss_is_explained_in_one_line(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    assert cli.fails(2, *arguments) == message


def test_near_names() -> None:
    assert did_you_mean("chrge", ["CHARGE", "DISCHARGE"]) == ": did you mean CHARGE?"
    assert did_you_mean("x", ["CHARGE"]) == ""
    assert did_you_mean("", ["CHARGE"]) == ""


# Short URLs.


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:50051", "grpc://localhost:50051?ssl=false"),
        ("127.0.0.1:50051", "grpc://127.0.0.1:50051?ssl=false"),
        ("127.1.2.3:1", "grpc://127.1.2.3:1?ssl=false"),
        ("[::1]:50051", "grpc://[::1]:50051?ssl=false"),
        ("dispatch.example.com:443", "grpc://dispatch.example.com:443"),
        ("localhost.example.com:50051", "grpc://localhost.example.com:50051"),
        ("127.0.0.1.example.com:50051", "grpc://127.0.0.1.example.com:50051"),
        ("[2001:db8::1]:50051", "grpc://[2001:db8::1]:50051"),
        ("192.168.0.7:50051", "grpc://192.168.0.7:50051"),
    ],
)
def test_only_this_machine_is_expected_to_have_no_tls(
    capsys: pytest.CaptureFixture[str], text: str, url: str
) -> None:
    assert complete_url(text) == url
    without = "without" if url.endswith("ssl=false") else "with"
    said = f"Note: --url {text} is taken as {url}, {without} TLS\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("url", ["grpc://a:1", "grpc://a?ssl=false", "https://a:1"])
def test_a_url_stays_as_it_is(url: str) -> None:
    assert complete_url(url) == url


@pytest.mark.parametrize("text", ["localhost", "a b:1", "localhost:", ":1", "user@host:1", "a:b"])
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="is neither a URL nor HOST:PORT"):
        complete_url(text)


# Contexts.


@pytest.fixture
def config(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with contexts that reach the service in different ways."""
    path = cli.directory / "config/trio-dispatch/config.toml"
    path.parent.mkdir(parents=True)
    (path.parent / "site.key").write_text(f"{KEY}\n")
    url = cli.environment["DISPATCH_API_URL"]
    path.write_text(
        f"""
        microgrid = 3
        context = "site-1"
        [contexts.site-1]
        url = "{url}"
        key-file = "site.key"
        microgrid = 1
        [contexts.site-2]
        url = "{url}"
        key-command = "echo {KEY}"
        microgrid = 2
        [contexts.broken]
        url = "{url}"
        key-file = "none.key"
        [contexts.lost]
        url = "{url}"
        key-command = "false"
        """
    )
    for name in ("DISPATCH_API_URL", "DISPATCH_API_KEY", "DISPATCH_MICROGRID_ID"):
        monkeypatch.delenv(name)
    return path


def test_a_context_has_its_own_options(
    cli: Cli, config: Path, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_thread.put(make_dispatch(1, type="ONE"), microgrid=1)
    service_thread.put(make_dispatch(2, type="TWO"), microgrid=2)
    assert "ONE" in cli.ok("list")
    assert "TWO" in cli.ok("list", "--context", "site-2")
    assert "TWO" in cli.ok("--context", "site-2", "list")
    # A context that is named has precedence over the environment, and an option over both.
    monkeypatch.setenv("DISPATCH_MICROGRID_ID", "3")
    assert "ONE" not in cli.ok("list")
    assert "TWO" in cli.ok("list", "--context", "site-2")
    assert "ONE" in cli.ok("list", "--context", "site-2", "-m", "1")
    monkeypatch.setenv("TRIO_DISPATCH_CONTEXT", "site-2")
    assert "TWO" in cli.ok("list")


def test_contexts_are_listed_and_the_current_one_has_a_star(cli: Cli, config: Path) -> None:
    url = cli.environment["DISPATCH_API_URL"]
    lines = [line.split() for line in cli.ok("contexts").splitlines()]
    assert lines[0] == ["NAME", "MICROGRID", "URL"]
    assert lines[1:3] == [["*", "site-1", "1", url], ["site-2", "2", url]]
    assert [each["current"] for each in cli.json("contexts", "--context", "site-2")] == [
        False, True, False, False,
    ]  # fmt: skip
    config.write_text("")
    assert "no contexts: add tables such as [contexts.site-7]" in cli("contexts").stderr


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("site-3", "unknown context 'site-3': did you mean site-2 or site-1?"),
        ("x", "unknown context 'x': use site-1, site-2, broken, lost"),
        ("broken", "none.key cannot be read: No such file or directory (from "),
        ("lost", "key-command 'false' failed: "),
    ],
)
def test_a_wrong_context_is_explained(cli: Cli, config: Path, context: str, message: str) -> None:
    said = cli.fails(2, "list", "--context", context)
    assert message in said
    assert str(config) in said


def test_the_key_command_runs_only_when_the_key_is_needed(cli: Cli, config: Path) -> None:
    assert cli("list", "--context", "lost", "--key", KEY).exit_code == 0


def test_a_certificate_of_the_context_is_used(cli: Cli, config: Path) -> None:
    config.write_text(
        '[contexts.a]\nurl = "grpc://127.0.0.1:1"\nca = "none.pem"\nmicrogrid = 1\n'
        '[contexts.b]\nurl = "grpc://127.0.0.1:1?ssl=false"\nca = "none.pem"\n'
    )
    assert "none.pem" in cli.fails(2, "list", "--context", "a")
    assert "exclude each other: remove the parameter" in cli.fails(2, "list", "--context", "b")


# Ping.


def test_ping_says_who_answers_and_whether_the_key_is_accepted(
    cli: Cli, service_thread: ServiceThread
) -> None:
    service_thread.put(make_dispatch(1))
    lines = dict(line.split(maxsplit=1) for line in cli.ok("ping").splitlines())
    url = cli.environment["DISPATCH_API_URL"]
    assert lines["service"] == f"{url}, without TLS"
    assert lines["health"] == "unknown"
    assert lines["key"] == "accepted"
    assert lines["APIs"] == "frequenz.api.dispatch.v1, trio_dispatch.runs.v1"
    assert lines["microgrid"] == "1, 1 dispatches"
    assert re.fullmatch(r"[\d.]+ ms with the connection, then [\d.]+ ms", lines["latency"])
    (found,) = cli.json("ping")
    assert found["key"] == "accepted"
    assert found["dispatches"] == 1


def test_ping_fails_if_the_key_is_refused_or_nobody_answers(cli: Cli) -> None:
    refused = cli("ping", "--key", "wrong")
    assert refused.exit_code == 1
    assert "key       refused: the request is not authenticated; check --key" in refused.stdout
    said = cli.fails(4, "ping", "--url", "grpc://127.0.0.1:1?ssl=false")
    assert "cannot connect to 127.0.0.1:1" in said


# Advice.


def test_create_warns_about_overlaps(cli: Cli, service_thread: ServiceThread) -> None:
    for number in (5, 6, 7, 8):
        service_thread.put(make_dispatch(number, duration=None, target=TargetIds(number)))
    arguments = ("create", "CHARGE", "-t", "4-8", "-s", "in 1 day", "-d", "1h")
    result = cli(*arguments)
    assert "same time" not in cli("create", "CHARGE", "-t", "1", "-s", "now", "-d", "1h").stderr
    last = service_thread.last_id
    assert "same time" in cli("update", str(last), "--target", "1,5").stderr
    (warning,) = [line for line in result.stderr.splitlines() if "same time" in line]
    assert re.fullmatch(
        r"Warning: #\d+ runs at the same time as #5 \S+ on component 5 \(.*\), "
        r"#6 \S+ on component 6 \(.*\), #7 \S+ on component 7 \(.*\), 1 more",
        warning,
    )


def test_create_warns_in_an_empty_microgrid(cli: Cli) -> None:
    said = cli(*CREATE, "-m", "77").stderr
    assert "is the only dispatch of microgrid 77: check --microgrid" in said
    assert "the only" not in cli(*CREATE, "-m", "77").stderr


def test_create_warns_if_dispatchers_never_ran_the_type(
    cli: Cli, service_thread: ServiceThread
) -> None:
    known = make_dispatch(1, type="CHARGE")
    service_thread.put(known)
    create = ("-t", "9", "-s", "in 2 days", "-d", "1h")
    assert "no dispatcher" not in cli("create", "CHRGE", *create).stderr
    service_thread.call(store_reports, service_thread.store, report_about(known))
    said = cli("create", "CHRGE", *create).stderr
    assert (
        "Warning: no dispatcher has ever reported a run of the type 'CHRGE': did you mean CHARGE?"
        in said
    )
    assert "no dispatcher" not in cli("create", "CHARGE", *create).stderr


# Completion.


def complete(cli: Cli, monkeypatch: pytest.MonkeyPatch, *words: str, **variables: str) -> list[str]:
    for name, value in (
        {"COMP_WORDS": " ".join(("trio-dispatch", *words)), "COMP_CWORD": str(len(words))}
        | {"_TRIO_DISPATCH_COMPLETE": "bash_complete"}
        | variables
    ).items():
        monkeypatch.setenv(name, value)
    found = subprocess.run([PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert not found.stderr
    return [line.partition(",")[2] for line in found.stdout.splitlines() if line]


def test_ids_and_types_are_completed(
    cli: Cli, service_thread: ServiceThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_thread.put(make_dispatch(9001, type="HEAT"), make_dispatch(9002, type="CHARGE"))
    assert complete(cli, monkeypatch, "get", "90") == ["9002", "9001"]
    assert complete(cli, monkeypatch, "create", "h") == ["HEAT"]


def test_completion_is_silent_without_a_service(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable = {"DISPATCH_API_URL": "grpc://127.0.0.1:1?ssl=false"}
    assert complete(cli, monkeypatch, "get", "1", **unreachable) == []
    assert complete(cli, monkeypatch, "get", "1", DISPATCH_API_KEY="wrong") == []
    assert complete(cli, monkeypatch, "get", "1", DISPATCH_API_URL="nonsense") == []
