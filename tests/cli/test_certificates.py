"""When certificates expire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trustme

from trio_dispatch.cli.serving.certificates import earliest_expiry


def pem(*years: int) -> str:
    """Return certificates that expire at the end of years."""
    made = (
        trustme.CA().issue_cert("localhost", not_after=datetime(year, 12, 31, 23, 59, 58))  # noqa: DTZ001
        for year in years
    )
    return "# chain\n" + "".join(each.cert_chain_pems[0].bytes().decode() for each in made)


@pytest.mark.parametrize("year", [2031, 2049, 2050, 2077, 2999])
def test_expiry_of_a_certificate(year: int) -> None:
    assert earliest_expiry(pem(year)) == datetime(year, 12, 31, 23, 59, 58, tzinfo=UTC)


def test_first_certificate_of_a_chain_that_expires_counts() -> None:
    assert earliest_expiry(pem(2040, 2030, 2050)).year == 2030


def test_text_without_a_valid_certificate() -> None:
    with pytest.raises(ValueError, match="no certificate in PEM"):
        earliest_expiry("-----BEGIN CERTIFICATE-----")
    head, end = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----"
    for broken in ("", "MAA=", "MIIB", "MIH/////"):
        with pytest.raises(ValueError, match=r"certificate|base64|padding"):
            earliest_expiry(f"{head}{broken}{end}")
