"""The manifest of a released checkpoint: its origin, scores and hashes, as a JSON file beside it.

    run, evaluation --of_run--> Manifest <--read_manifest, as_document--> NAME.json
    Manifest, certificate --with_certificate--> Manifest

A released checkpoint needs an origin that can be checked: experiment and seed, the hardware of training and
examination, the SHA-256 of the file, and its scores as errors of n.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reprogrok.certificate.certified import Agreement, Certified, Sampled, agreement
from reprogrok.certificate.document import beside
from reprogrok.errors import InputError, RecordError
from reprogrok.evaluation.evaluation import Evaluation
from reprogrok.exam.exam import UNIFORM
from reprogrok.record import FINGERPRINT, SPEC, read
from reprogrok.schema import check_written, load
from reprogrok.stats.proportions import proportion

SCHEMA = "manifest"


@dataclass(frozen=True)
class ManifestScore:
    """The errors of a checkpoint on one suite."""

    exam: str
    exam_digest: str
    errors: int
    n: int


@dataclass(frozen=True)
class Manifest:
    """The facts beside a released checkpoint.

    Attributes:
        file: name of the weights file.
        sha256: SHA-256 of that file.
        parameters: number of unique parameters.
        experiment: name of the experiment.
        spec_digest: digest of the experiment's spec.
        engine_version: version of the training engine.
        seed: seed of the replica.
        steps: length of the whole run.
        step: step whose update gave these weights; None if the file does not say.
        trained_on: fingerprint of the run.
        examined_on: hardware and versions of the examination.
        scores: errors by suite.
        certificate: statement of a certificate in the form of `Certified.as_block`, if there is one.
    """

    file: str
    sha256: str
    parameters: int
    experiment: str
    spec_digest: str
    engine_version: int
    seed: int
    steps: int
    step: int | None
    trained_on: Mapping[str, object]
    examined_on: Mapping[str, object]
    scores: Mapping[str, ManifestScore]
    certificate: Mapping[str, object] | None = None

    @property
    def sampled(self) -> Sampled:
        """The errors that certificates are compared with: several errors may be of one problem asked again."""
        uniform = self.scores.get(UNIFORM)
        errors = None if uniform is None else proportion(uniform.errors, uniform.n)
        return Sampled(errors, int(any(score.errors for score in self.scores.values())))

    def with_certificate(self, certified: Certified) -> Manifest:
        """Add the statement of a certificate of the same file, under the name it has beside that file.

        Raises:
            InputError: the certificate is of another file, or contradicts the scores of the manifest.
        """
        certified.check_is_of(self.sha256, self.file)
        wrong = certified.stated.wrong
        if agreement(wrong, self.sampled) is Agreement.CONTRADICTS:
            raise InputError(
                "its statement contradicts the scores of the manifest: one of the two is wrong",
                path=certified.path, field="$.wrong",
                expected=", ".join(f"what fits {score.errors:,} of {score.n:,}" for score in self.scores.values()),
                found=f"{certified.stated.status}, at most {wrong.at_most}",
            )  # fmt: skip
        return replace(self, certificate=certified.as_block(beside(Path(self.file)).name))

    def as_document(self) -> dict[str, object]:
        """Return the manifest as plain data that keeps its schema.

        Raises:
            InputError: it does not.
        """
        written: dict[str, object] = {"format": "reprogrok.manifest/1", **vars(self)}
        written["scores"] = {suite: vars(score) for suite, score in self.scores.items()}
        if self.certificate is None:
            del written["certificate"]
        check_written(written, SCHEMA)
        return written


def best_checkpoint(run: Path, seed: int) -> Path:
    """Return the path of the best checkpoint of a seed, after checking the hashes of all files of the run.

    Raises:
        RecordError: there is no finished run, or it does not have the seed.
    """
    record = read(run)
    if seed not in record.replicas:
        raise RecordError(
            "no such seed in this run", path=run, expected=", ".join(map(str, record.replicas)), found=str(seed)
        )
    return run / f"seed-{seed}" / "best.pt"


def manifest_of_run(run: Path, seed: int, evaluation: Evaluation, name: str) -> Manifest:
    """Describe the checkpoint `name`, a copy of the best checkpoint of a seed of a run."""
    spec = json.loads((run / SPEC).read_bytes())
    return Manifest(
        file=name,
        sha256=evaluation.checkpoint.sha256,
        parameters=evaluation.parameters,
        experiment=spec["experiment"],
        spec_digest=spec["digest"],
        engine_version=spec["engine_version"],
        seed=seed,
        steps=spec["spec"]["steps"],
        step=evaluation.checkpoint.step,
        trained_on=json.loads((run / FINGERPRINT).read_bytes()),
        examined_on=evaluation.environment,
        scores={
            suite: ManifestScore(result.exam.name, result.exam.digest, result.total.errors.k, result.total.errors.n)
            for suite, result in evaluation.suites.items()
        },
    )


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        InputError: the file is missing or does not keep the schema.
    """
    data = {name: value for name, value in load(path, SCHEMA).data.items() if name != "format"}
    scores = {suite: ManifestScore(**score) for suite, score in data["scores"].items()}
    return Manifest(**{**data, "scores": scores})
