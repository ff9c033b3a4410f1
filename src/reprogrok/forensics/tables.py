"""A forensic report -> lines for people, or a JSON document; both from one object."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from reprogrok.files import pretty_json
from reprogrok.forensics.findings import CheckedNumbers, Finding, ForensicReport, Grade
from reprogrok.schema import check_written
from reprogrok.text import counted

_CAUTION = "An inconsistency is not evidence of fraud: each finding names honest explanations."
_STYLES = {Grade.CERTAIN: "bold red", Grade.TELLING: "bold yellow", Grade.WEAK: "dim"}


def print_report(report: ForensicReport, console: Console) -> None:
    """Print one block for each finding, then the numbers that were checked."""
    console.print(Text(f"{report.subject}: {summary(report)}", style="bold"), soft_wrap=True)
    for finding in report.findings:
        console.print()
        head = Text.assemble((finding.grade.value, _STYLES[finding.grade]), f"  {finding.kind.value}  {finding.where}")
        console.print(head, soft_wrap=True)
        for label, text in _lines(finding):
            console.print(Text(f"  {label:<11} {text}"), soft_wrap=True)
    console.print()
    for check in report.checks:
        console.print(Text(f"  checked     {check_text(check)}", style="dim"), soft_wrap=True)
    if report.findings:
        console.print(f"\n{_CAUTION}", soft_wrap=True)


def summary(report: ForensicReport) -> str:
    """Return such as `3 findings (1 certain, 0 telling, 2 weak)`, or `nothing found`."""
    if not report.findings:
        return "nothing found"
    grades = ", ".join(f"{report.count(grade)} {grade.value}" for grade in Grade)
    return f"{counted(len(report.findings), 'finding')} ({grades})"


def check_text(check: CheckedNumbers) -> str:
    """Return such as `k of n: 2,000 numbers, 7 of them undecidable; test_accuracy of n = 1,882`."""
    silent = f", {check.silent:,} of them undecidable" if check.silent else ""
    return f"{check.name}: {counted(check.looked_at, 'number')}{silent}; {check.note}"


def _lines(finding: Finding) -> list[tuple[str, str]]:
    lines = [("printed", finding.printed), ("arithmetic", finding.arithmetic)]
    if finding.probability is not None:
        lines.append(("by chance", f"{finding.probability:.2g}"))
    return [*lines, ("explanation", finding.explanation)]


def as_json(report: ForensicReport) -> bytes:
    """Return the report as a JSON document, checked against its schema."""
    document: dict[str, object] = {
        "format": "reprogrok.forensics/1",
        "subject": report.subject,
        "exit_code": int(report.exit_code),
        "findings": [
            {
                "kind": finding.kind.value,
                "where": finding.where,
                "printed": finding.printed,
                "arithmetic": finding.arithmetic,
                "sure": finding.grade.value,
                "probability": finding.probability,
                "not_meant": finding.explanation,
            }
            for finding in report.findings
        ],
        "checks": [vars(check) for check in report.checks],
    }
    check_written(document, "forensics")
    return pretty_json(document)
