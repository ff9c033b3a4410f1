"""An examination of printed numbers -> lines for people, or a document for machines; both from one object."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from reprogrok.files import pretty_json
from reprogrok.forensics.findings import CheckedNumbers, Examination, Finding, Grade
from reprogrok.schema import check_written
from reprogrok.text import counted

_STYLES = {Grade.CERTAIN: "bold red", Grade.TELLING: "bold yellow", Grade.WEAK: "dim"}


def print_examination(examination: Examination, console: Console) -> None:
    """One block for each finding, then what was looked at."""
    console.print(Text(f"{examination.subject}: {summary(examination)}", style="bold"), soft_wrap=True)
    for finding in examination.findings:
        console.print()
        head = Text.assemble((finding.sure.value, _STYLES[finding.sure]), f"  {finding.kind.value}  {finding.where}")
        console.print(head, soft_wrap=True)
        for label, words in _lines(finding):
            console.print(Text(f"  {label:<11} {words}"), soft_wrap=True)
    console.print()
    for check in examination.checks:
        console.print(Text(f"  looked at   {check_text(check)}", style="dim"), soft_wrap=True)
    if examination.findings:
        console.print(
            "\nAn inconsistency is not evidence of fraud: each finding names other explanations.", soft_wrap=True
        )


def summary(examination: Examination) -> str:
    """`1 certain, 0 telling, 2 weak findings`, or that there is none."""
    if not examination.findings:
        return "nothing found"
    grades = ", ".join(f"{examination.count(sure)} {sure.value}" for sure in Grade)
    return f"{counted(len(examination.findings), 'finding')} ({grades})"


def check_text(check: CheckedNumbers) -> str:
    """`k of n: 2,000 numbers, 0 silent; test_accuracy of n = 1,882`."""
    silent = f", {check.silent:,} of them silent" if check.silent else ""
    return f"{check.name}: {counted(check.looked_at, 'number')}{silent}; {check.note}"


def _lines(finding: Finding) -> list[tuple[str, str]]:
    lines = [("printed", finding.printed), ("arithmetic", finding.arithmetic)]
    if finding.probability is not None:
        lines.append(("by chance", f"{finding.probability:.2g}"))
    return [*lines, ("but", finding.not_meant)]


def document_of(examination: Examination) -> dict[str, object]:
    """The examination as plain data, which keeps `forensics.schema.json`."""
    return {
        "format": "reprogrok.forensics/1",
        "subject": examination.subject,
        "exit_code": int(examination.exit_code),
        "findings": [
            {
                "kind": finding.kind.value,
                "where": finding.where,
                "printed": finding.printed,
                "arithmetic": finding.arithmetic,
                "sure": finding.sure.value,
                "probability": finding.probability,
                "not_meant": finding.not_meant,
            }
            for finding in examination.findings
        ],
        "checks": [vars(check) for check in examination.checks],
    }


def as_json(examination: Examination) -> bytes:
    """The examination as a JSON document that keeps its schema."""
    document = document_of(examination)
    check_written(document, "forensics")
    return pretty_json(document)
