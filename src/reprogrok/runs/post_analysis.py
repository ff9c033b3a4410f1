"""The analysis of a replica and the snapshots around its transition -> its post-analysis.

Analysis + RunSnapshots --those around t_grok are measured--> PostAnalysis
                        --runs.tables--> tables        --runs.post_analysis_documents--> post_analysis.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reprogrok.runs.analysis import Analysis
from reprogrok.runs.snapshots import AFTER, BEFORE, NEAR, WINDOW, RunSnapshots, Snapshot, select


@dataclass(frozen=True)
class PostAnalysis:
    """The analysis of one replica with the snapshots around its transition.

    Attributes:
        analysis: the analysis of the logs.
        candidates: the snapshots that can be measured.
        selection: id of the rule that selected the measured ones.
        snapshots: the measured snapshots, by increasing step.
        notes: caveats for a reader, one sentence each.
    """

    analysis: Analysis
    candidates: RunSnapshots
    selection: str
    snapshots: tuple[Snapshot, ...]
    notes: tuple[str, ...]

    @property
    def relative_steps(self) -> tuple[int | None, ...]:
        """Steps of the snapshots minus t_grok; None without a t_grok."""
        t_grok = self.analysis.t_grok
        return tuple(None if t_grok is None else snapshot.step - t_grok for snapshot in self.snapshots)

    @property
    def test_accuracy(self) -> tuple[float | None, ...]:
        """Test accuracy as logged at the steps of the snapshots; None where none was logged."""
        series = self.analysis.run.replicas[self.analysis.seed].get(self.analysis.test_metric or "")
        by_step = {} if series is None else dict(zip(series.steps, series.values, strict=True))
        return tuple(by_step.get(snapshot.step) for snapshot in self.snapshots)


def post_analyse(analysis: Analysis, candidates: RunSnapshots, window: int = WINDOW) -> PostAnalysis:
    """Measure the snapshots around the transition; those within `window` steps of t_grok count as near.

    Raises:
        InputError: a snapshot cannot be measured: its checkpoint is refused, or memory does not suffice.
    """
    snapshots = tuple(map(candidates.measure, select(candidates.steps, analysis.t_grok, window)))
    notes = (
        *analysis.notes,
        *candidates.notes,
        *dict.fromkeys(snapshot.note for snapshot in snapshots if snapshot.note),
        *_missed(analysis.t_grok, candidates.steps, snapshots),
    )
    return PostAnalysis(analysis, candidates, f"around/{window}-{BEFORE}-{NEAR}-{AFTER}", snapshots, notes)


def _missed(t_grok: int | None, candidates: Sequence[int], snapshots: Sequence[Snapshot]) -> list[str]:
    """Note that the published rule, which takes the first two near t_grok, selected no snapshot after it."""
    if t_grok is None or not snapshots or snapshots[-1].step >= t_grok:
        return []
    later = [step for step in candidates if step >= t_grok]
    has = f"candidates there: {', '.join(f'{step:,}' for step in later[:5])}" if later else "no candidate lies there"
    return [f"the published selection holds no snapshot at or after t_grok {t_grok:,}; {has}"]
