"""Every enumeration and limit that a schema and the code both state is the same in both.

schemas/*.schema.json --facts--> (schema, place) -> value --compare--> HELD (from the code) or ALONE (the schema's own)
"""

import copy
import json
import re
from pathlib import Path

import pytest

from reprogrok import schema
from reprogrok.certificate.certified import Agreement
from reprogrok.certificate.checker.carries import blocks
from reprogrok.certificate.checker.enclosure import MOST_DIGITS
from reprogrok.certificate.checker.problem_sets import ATTRIBUTES
from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.certificate.document import ARITHMETICS
from reprogrok.claims.audit import ANY_DEVICE
from reprogrok.claims.claims import Order, Tier
from reprogrok.claims.judgements import ClaimDecision
from reprogrok.cli.certify import ArithmeticName
from reprogrok.cli.eval import ExamChoice, Method, SuiteChoice
from reprogrok.cli.options import VerdictFormat
from reprogrok.cli.train import BackendChoice, Promise, Sink
from reprogrok.errors import ExitCode
from reprogrok.exam.exam import MODULAR_SUITES, SUITES
from reprogrok.forensics.findings import Flaw, Grade
from reprogrok.formats.foreign_logs import LLMC_LOG, PEER_CSV
from reprogrok.formats.foreign_runs import COLUMNS
from reprogrok.formats.limits import field_range
from reprogrok.gates.criteria import ANSWERS_LEARNABLE, NOT_BELOW_CHANCE, TRAINING_MEMORISED
from reprogrok.gates.documents import DOCUMENTS
from reprogrok.gates.operators import Feasibility
from reprogrok.gates.preflight.checks import NoteKind
from reprogrok.gates.verdict import GateDecision, Outcome, RegistrationStatus
from reprogrok.metrics.fourier import MEASURES
from reprogrok.metrics.grokking import Chance
from reprogrok.metrics.regime import Regime
from reprogrok.model.device import CHOICES
from reprogrok.runs.identity import OURS
from reprogrok.runs.snapshots import CHECKPOINTS, LOGS, NOTHING
from reprogrok.spec.experiment import DEVICES, MAX_STEPS
from reprogrok.spec.model import GELU
from reprogrok.spec.ranges import seed_range
from reprogrok.spec.task import (
    DIGITS,
    FORMATS,
    LOSSES,
    MAX_MODULUS,
    MAX_SPLIT_SEED,
    NAME,
    SPLIT_KINDS,
    AdditionTask,
    ModularTask,
)
from reprogrok.tasks import modular, splits
from reprogrok.tasks.addition import EQUALS
from reprogrok.tasks.epochs import ORDERS
from reprogrok.tasks.protocols import MODULAR_PROTOCOL, PROTOCOL
from reprogrok.train.backends import Backend
from reprogrok.train.sinks import SINKS

FOLDER = Path(schema.__file__).parent / "schemas"
SHIPPED = {path.name.removesuffix(".schema.json"): json.loads(path.read_text("utf-8")) for path in FOLDER.iterdir()}
STATED = ("enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxItems", "maxLength")
CODES = [ExitCode.PASS, ExitCode.FAIL, ExitCode.INCONCLUSIVE]
REQUIREMENTS = [TRAINING_MEMORISED, ANSWERS_LEARNABLE, NOT_BELOW_CHANCE]
MODEL = "$defs.experiment.properties.model.properties"
RANGED = ("n_layer", "d_model", "n_head", "d_ff", "pos_rank", "qkv_rank", "attn_out_rank", "ffn_rank")

# (schema, place in it) -> what the code says; limits 0, 1 and -1 and the sizes of pairs need no second place.
HELD = {
    ("audit", "$defs.claim.properties.tier.enum"): list(Tier),
    ("audit", "$defs.claim.properties.verdict.enum"): list(ClaimDecision),
    ("audit", "properties.exit_code.enum"): CODES,
    ("certificate", "$defs.block.properties.token.maximum"): EQUALS,
    ("certificate", "$defs.failure.properties.conditions.items.properties.what.enum"): list(ATTRIBUTES),
    ("certificate", "$defs.failure.properties.conditions.items.properties.high.maximum"): max(ATTRIBUTES.values()) - 1,
    ("certificate", "$defs.failure.properties.conditions.items.properties.low.maximum"): max(ATTRIBUTES.values()) - 1,
    ("certificate", "$defs.place.maximum"): MOST_DIGITS,
    ("certificate", "properties.arithmetic.properties.name.enum"): list(ARITHMETICS),
    ("certificate", "properties.blocks.maxItems"): len(list(blocks(MOST_DIGITS))),
    ("certificate", "properties.failures.maxItems"): MOST_DIGITS + 1,
    ("certificate", "properties.places.maxItems"): MOST_DIGITS + 1,
    ("certificate", "properties.task.properties.digits.maximum"): MOST_DIGITS,
    ("certificate", "properties.task.properties.name.const"): AdditionTask.name,
    ("certificate", "properties.verdict.enum"): list(CertificateStatus),
    ("claims", "$defs.claim.properties.device.enum"): [*DEVICES, ANY_DEVICE],
    ("claims", "$defs.claim.properties.tier.enum"): list(Tier),
    ("claims", "$defs.expect.oneOf.4.properties.order.enum"): list(Order),
    ("evaluation", "$defs.certified.properties.verdict.enum"): list(CertificateStatus),
    ("evaluation", "$defs.evaluation.properties.certificate.properties.sample.enum"): [*Agreement, None],
    ("evaluation", "$defs.evaluation.properties.task.properties.name.const"): ModularTask.name,
    ("evaluation", "$defs.suite.properties.chance.properties.definition.const"): Chance.definition,
    ("evaluation", "$defs.suite.properties.method.enum"): list(Method),
    ("fingerprint", "$defs.fingerprint.properties.device.enum"): list(DEVICES),
    ("forensics", "properties.exit_code.enum"): CODES[:2],
    ("forensics", "properties.findings.items.properties.kind.enum"): list(Flaw),
    ("forensics", "properties.findings.items.properties.sure.enum"): list(Grade),
    ("params", "$defs.addition.properties.curriculum.items.properties.digits.items.maximum"): DIGITS[1],
    ("params", "$defs.addition.properties.digits.maximum"): DIGITS[1],
    ("params", "$defs.addition.properties.digits.minimum"): DIGITS[0],
    ("params", "$defs.addition.properties.hold_out.const"): PROTOCOL,
    ("params", "$defs.addition.properties.name.const"): AdditionTask.name,
    ("params", "$defs.built_in_split.properties.kind.enum"): list(SPLIT_KINDS),
    ("params", "$defs.experiment.properties.batch.properties.order.enum"): list(ORDERS),
    **{("params", f"{MODEL}.{name}.maximum"): field_range(name)[1] for name in RANGED},
    ("params", f"{MODEL}.gelu.enum"): list(GELU),
    ("params", "$defs.experiment.properties.seeds.items.maximum"): 10**18 - 1,  # as many digits as `seed_range` reads
    ("params", "$defs.experiment.properties.steps.maximum"): MAX_STEPS,
    ("params", "$defs.experiment.properties.task.if.properties.name.const"): ModularTask.name,
    ("params", "$defs.experiment.properties.task.properties.name.enum"): [AdditionTask.name, ModularTask.name],
    ("params", "$defs.modular.properties.format.enum"): list(FORMATS),
    ("params", "$defs.modular.properties.loss.enum"): list(LOSSES),
    ("params", "$defs.modular.properties.modulus.maximum"): MAX_MODULUS,
    ("params", "$defs.modular.properties.name.const"): ModularTask.name,
    ("params", "$defs.operand_holdout.properties.held.items.maximum"): MAX_MODULUS,
    ("params", "$defs.range.items.maximum"): MAX_MODULUS,
    ("params", "$defs.split_seed.maximum"): MAX_SPLIT_SEED,
    ("params", "properties.deterministic.enum"): list(Promise),
    ("params", "properties.device.enum"): list(CHOICES),
    ("post_analysis", "$defs.fourier.properties.measures.additionalProperties.properties.set.enum"): sorted(
        {data for _, data in MEASURES.values()}
    ),
    ("post_analysis", "$defs.ours.properties.regime.properties.regime.enum"): list(Regime),
    ("post_analysis", "$defs.ours.properties.source.enum"): [CHECKPOINTS, LOGS, NOTHING],
    ("preflight", "properties.exit_code.enum"): CODES[:2],
    ("preflight", "properties.findings.items.properties.kind.enum"): list(NoteKind),
    ("preflight", "properties.requirements.items.properties.decided.enum"): [Outcome.HOLDS, Outcome.FAILS, None],
    ("preflight", "properties.requirements.items.properties.kind.enum"): REQUIREMENTS,
    ("preflight", "properties.verdict.enum"): [GateDecision.GO, GateDecision.NO_GO],
    ("run", "properties.device.enum"): list(DEVICES),
    ("verdict", "$defs.outcome.enum"): list(Outcome),
    ("verdict", "properties.exit_code.enum"): CODES,
    ("verdict", "properties.findings.items.properties.kind.enum"): [Feasibility.IMPOSSIBLE, Feasibility.VACUOUS],
    ("verdict", "properties.registration.properties.status.enum"): list(RegistrationStatus),
    ("verdict", "properties.requires.items.properties.kind.enum"): REQUIREMENTS,
    ("verdict", "properties.run.properties.layout.enum"): [OURS, COLUMNS, PEER_CSV, LLMC_LOG],
    ("verdict", "properties.verdict.enum"): list(GateDecision),
}
# Facts that the code does not repeat: the schema alone checks them.
ALONE = {
    "audit": {
        "properties.chance.properties.adjustment.const",
    },
    "certificate": {
        "$defs.block.properties.basis.items.items.maximum",
        "$defs.block.properties.basis.items.items.minimum",
        "$defs.block.properties.basis.items.maxItems",
        "$defs.block.properties.basis.maxItems",
        "$defs.block.properties.orders.patternProperties.^([0-9]|1[0-4])$.maxLength",
        "$defs.failure.properties.conditions.maxItems",
        "properties.checkpoint.properties.path.maxLength",
        "properties.counterexamples.items.properties.answer.maxLength",
        "properties.counterexamples.maxItems",
        "properties.failures.items.properties.failing.maxItems",
        "properties.reprogrok.maxLength",
    },
    "claims": {
        "$defs.claim.properties.kind.enum",
        "$defs.count.maximum",
        "$defs.number.maximum",
        "$defs.number.minimum",
        "$defs.quantity.properties.side.enum",
        "$defs.quantity.properties.window.enum",
        "$defs.reported.properties.split.enum",
        "$defs.total.maximum",
    },
    "controls": {
        "$defs.metrics.additionalProperties.items.prefixItems.0.maximum",
        "$defs.metrics.additionalProperties.items.prefixItems.1.maximum",
        "$defs.metrics.additionalProperties.items.prefixItems.1.minimum",
    },
    "criteria": {
        "$defs.flat.properties.confidence.maximum",
        "$defs.flat.properties.confidence.minimum",
        "$defs.interval.maximum",
        "$defs.number.maximum",
        "$defs.number.minimum",
        "$defs.step.maximum",
    },
    "foreign_config": {
        "properties.data.properties.modulus_p.maximum",
        "properties.data.properties.modulus_p.minimum",
    },
    "foreign_summary": {
        "properties.num_models.maximum",
    },
    "params": {
        "$defs.built_in_split.allOf.0.if.properties.kind.const",
        "$defs.built_in_split.allOf.1.if.properties.kind.const",
        "$defs.built_in_split.allOf.2.if.properties.kind.enum",
        "$defs.experiment.properties.batch.maximum",
        "$defs.experiment.properties.batch.properties.size.maximum",
        "$defs.experiment.properties.model.properties.dropout.maximum",
        "$defs.experiment.properties.model.properties.initial_biases.enum",
        "$defs.modular.properties.modulus.minimum",
    },
}


def facts(contents):
    """Place -> value, of every enumeration and limit of a schema that is more than a sign, a share or a pair."""
    found, waiting = {}, [((), contents)]
    while waiting:
        place, part = waiting.pop()
        inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, value in inside:
            if key in STATED and isinstance(part, dict) and place[-1:] != ("properties",):
                if not (value in (-1, 0, 1) or (key == "maxItems" and value == 2)):
                    found[".".join(map(str, (*place, key)))] = value
            else:
                waiting.append(((*place, key), value))
    return found


def same(one, other):
    """Whether two values are equal; two lists may differ in order."""
    return sorted(map(str, one)) == sorted(map(str, other)) if isinstance(one, list) else one == other


def moved(shipped):
    """The facts of HELD that a schema states otherwise or not at all."""
    return [key for key, value in HELD.items() if not same(value, facts(shipped[key[0]]).get(key[1]))]


def test_a_schema_and_the_code_state_the_same():
    assert moved(SHIPPED) == []


def test_every_fact_is_held_or_known_to_be_the_schemas_alone():
    formats = {
        (name, place) for name, text in SHIPPED.items() for place in facts(text) if place.endswith("format.const")
    }
    alone = {(name, place) for name, places in ALONE.items() for place in places}
    assert {(name, place) for name, text in SHIPPED.items() for place in facts(text)} == formats | alone | HELD.keys()
    assert alone.isdisjoint(HELD)


@pytest.mark.parametrize("key", HELD, ids=" ".join)
def test_a_fact_that_moves_on_one_side_is_seen(key):
    name, place = key
    broken = copy.deepcopy(SHIPPED[name])
    part, steps = broken, re.split(r"\.", place)
    for step in steps[:-1]:
        part = part[int(step) if isinstance(part, list) else step]
    value = part[steps[-1]]
    part[steps[-1]] = value[:-1] if isinstance(value, list) else value * 2
    assert key in moved(SHIPPED | {name: broken})


def test_a_format_is_named_in_one_module():
    texts = [path.read_text("utf-8") for path in Path(schema.__file__).parent.rglob("*.py")]
    names = [
        value for text in SHIPPED.values() for place, value in facts(text).items() if place.endswith("format.const")
    ]
    written = [name for name in names if name not in READ_ONLY]
    assert [name for name in written if sum(f'"{name}"' in text for text in texts) != 1] == []


# Formats of files that people write, which only the schema names.
READ_ONLY = {"reprogrok.claims/1", "reprogrok.controls/1", "reprogrok.criteria/1"}


def test_names_of_packages_have_one_pattern():
    assert SHIPPED["params"]["$defs"]["own_split"]["properties"]["kind"]["pattern"] == f"^{NAME.pattern}$"


def test_the_largest_seed_of_a_list_is_that_of_a_range():
    most = HELD["params", "$defs.experiment.properties.seeds.items.maximum"]
    assert seed_range(str(most)) == (most,)
    assert seed_range(str(most + 1)) is None


@pytest.mark.parametrize(
    ("choices", "known"),
    [
        (ArithmeticName, ARITHMETICS),
        (BackendChoice, Backend),
        (ExamChoice, [name.partition("/")[0] for name in (PROTOCOL, MODULAR_PROTOCOL)]),
        (Sink, SINKS),
        (SuiteChoice, [*SUITES, *MODULAR_SUITES, "all"]),
        (VerdictFormat, ["table", *DOCUMENTS]),
        (FORMATS, modular._ROWS),
        (FORMATS, modular._TOKENS),
        (SPLIT_KINDS, splits._KINDS),
    ],
)
def test_the_choices_of_a_command_are_those_of_the_room_below(choices, known):
    assert sorted(choices) == sorted(known)
