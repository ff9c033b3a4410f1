"""A certificate beside the errors of an evaluation -> whether both can be true, and the lines that say so.

    statement + sampled errors --> the statement, whether the sample agrees, the command that checks the certificate

A certificate is not checked here, and the lines always say so.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from reprogrok.certificate.certified import Agreement, Certified, Sampled, agreement
from reprogrok.certificate.certified_lines import stated_text
from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.stats.proportions import interval_text
from reprogrok.text import counted


@dataclass(frozen=True)
class CertificateReport:
    """A certificate beside the errors that an evaluation of the same weights found.

    Attributes:
        checkpoint: path of the weights file.
        certified: statement of the certificate.
        sampled: errors of the evaluation.
    """

    checkpoint: str
    certified: Certified
    sampled: Sampled

    @property
    def file(self) -> str:
        """Path of the certificate as text."""
        return self.certified.path.as_posix()

    @property
    def sample(self) -> Agreement | None:
        """Whether the statement and the errors can both be true; None if the errors do not bear on it."""
        return agreement(self.certified.stated.wrong, self.sampled)

    def as_document(self) -> dict[str, object]:
        """Return the block of an evaluation."""
        return self.certified.as_block(self.file) | {"sample": None if self.sample is None else self.sample.value}


def certificate_lines(report: CertificateReport | None) -> list[str]:
    """Describe a certificate beside the errors of an evaluation; nothing without a certificate."""
    if report is None:
        return []
    said = f"  certificate: {stated_text(report.certified.stated)}"
    if (sample := _sample_text(report)) is not None:
        said += f"; {sample}"
    return [said, f"  not checked again here: `{_check_command(report)}`"]


def contradiction(report: CertificateReport | None) -> str | None:
    """Describe the contradiction between a certificate and the errors of an evaluation; None if there is none."""
    if report is None or report.sample is not Agreement.CONTRADICTS:
        return None
    stated, seen = report.certified.stated, report.sampled
    high = stated.wrong.at_most
    if high is not None and seen.wrong > high:
        found = f"{counted(seen.wrong, 'problem')} {'was' if seen.wrong == 1 else 'were'} answered wrong here"
    else:
        found = f"{_errors_text(seen)} errors do not fit that"
    return (
        f"CONTRADICTION: {report.checkpoint} is certified as {stated_text(stated)}, but {found}."
        f" One of the two is wrong: check it by `{_check_command(report)}`, and evaluate on the CPU."
    )


def _check_command(report: CertificateReport) -> str:
    return f"reprogrok certify {shlex.join((report.checkpoint, '--check', report.file))}"


def _sample_text(report: CertificateReport) -> str | None:
    seen, sample = report.sampled, report.sample
    if sample is None or seen.errors is None:
        return None
    if sample is Agreement.CONTRADICTS:
        return "CONTRADICTED by the errors found here"
    interval = f"95 %: {interval_text(seen.errors)}"
    if sample is Agreement.UNLIKELY:
        return f"the sampled {_errors_text(seen)} is off ({interval}), as chance makes 1 of 20 samples"
    agrees = f"the sampled {_errors_text(seen)} agrees"
    return agrees if report.certified.stated.status is CertificateStatus.PROVED else f"{agrees} ({interval})"


def _errors_text(seen: Sampled) -> str:
    return "" if seen.errors is None else f"{seen.errors.k:,} of {seen.errors.n:,}"
