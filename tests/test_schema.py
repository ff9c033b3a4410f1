"""Documents: YAML 1.2 and JSON, checked, with every error at its line; nothing odd gets past as another exception."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reprogrok import schema
from reprogrok.errors import InputError

RUNS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["runs"],
    "properties": {
        "format": {"const": "runs/1"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "patternProperties": {"^x-": {}},
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z0-9]+$"},
                    "steps": {"type": "integer", "minimum": 1, "maximum": 1000},
                    "rate": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                    "device": {"enum": ["cpu", "cuda"]},
                    "seeds": {
                        "oneOf": [
                            {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
                            {"type": "string", "pattern": "^[0-9]+:[0-9]+$"},
                        ]
                    },
                    "loss": {
                        "oneOf": [
                            {
                                "additionalProperties": False,
                                "properties": {"kind": {"const": "plain"}},
                            },
                            {
                                "additionalProperties": False,
                                "properties": {"kind": {"const": "stable"}, "beta": {"maximum": 1}},
                            },
                        ]
                    },
                },
            },
        },
    },
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Reads a text under the schema of this file (or without one) from a file that is called `name`."""
    monkeypatch.setattr(schema, "validator", lambda _name: Draft202012Validator(RUNS))

    def load_text(text, *, name="runs.yaml", check=True):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return schema.load(path, "runs" if check else None)

    return load_text


def refusal(load, text, **options):
    """The message of the InputError, without the folder of the test."""
    with pytest.raises(InputError) as caught:
        load(text, **options)
    error = caught.value
    assert error.path.is_absolute()
    return str(error).replace(f"{error.path.parent}/", "")


# --- YAML is version 1.2 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("0:8", "0:8"),
        ("1:30:00", "1:30:00"),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(load, text, value):
    found = load(f"a: {text}\n", check=False).data["a"]
    assert found == value
    assert type(found) is type(value)


def test_a_document_knows_its_lines_and_its_hash(load):
    text = "# a comment\nformat: runs/1\n\nruns:\n  - name: e1\n    seeds:\n"
    text += "      - 1\n      - 2\n  - {name: e2,\n     steps: 5}\n"
    document = load(text)
    assert document.data == {"format": "runs/1", "runs": [{"name": "e1", "seeds": [1, 2]}, {"name": "e2", "steps": 5}]}
    lines = {schema.json_path(steps): line for steps, line in document.lines.items()}
    assert lines == {
        "$": 2,
        "$.format": 2,
        "$.runs": 4,
        "$.runs[0]": 5,
        "$.runs[0].name": 5,
        "$.runs[0].seeds": 6,
        "$.runs[0].seeds[0]": 7,
        "$.runs[0].seeds[1]": 8,
        "$.runs[1]": 9,
        "$.runs[1].name": 9,
        "$.runs[1].steps": 10,
    }
    assert document.sha256 == schema.sha256_bytes(text.encode())


def test_json_and_yaml_give_the_same_document(load):
    text = '{"format": "runs/1", "runs": [{"name": "e1", "rate": 0.5}]}'
    assert load(text, name="runs.json").data == load(text).data


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), JSON_VALUES))
def test_what_json_can_say_is_read_and_every_field_has_its_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("documents")
    text = json.dumps(data, indent=1, ensure_ascii=False)  # JSON is YAML 1.2
    for name in ("any.yaml", "any.json"):
        (folder / name).write_text(text, "utf-8")
        assert schema.load(folder / name).data == data
    rows = text.splitlines()
    for steps, line in schema.load(folder / "any.yaml").lines.items():
        if steps and isinstance(steps[-1], str):
            assert f'"{steps[-1]}": ' in rows[line - 1]


# --- Errors say where, what was expected and what was found -------------------------------------------------------


KNOWN = "expected one of name, steps, rate, device, seeds, loss"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run:\n", ':1 $.run: unknown field: expected one of format, runs (did you mean runs?), found "run"'),
        ("format: runs/1\n", ":1 $: the field runs is missing"),
        ("runs:\n  - name: e1\n  - steps: 5\n", ":3 $.runs[1]: the field name is missing"),
        ("runs: []\n", ":1 $.runs: expected at least 1 item(s), found []"),
        ("format: runs/2\nruns: [{name: a}]\n", ':1 $.format: expected runs/1, found "runs/2"'),
        ("- 1\n", ":1 $: expected a value of type object, found [1]"),
        ("", " $: expected a value of type object, found null"),
        ("# nothing\n", " $: expected a value of type object, found null"),
    ],
)
def test_a_violation_is_reported_at_its_line(load, text, message):
    assert refusal(load, text) == f"runs.yaml{message}"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("stesp: 5", f'.stesp: unknown field: {KNOWN} (did you mean steps?), found "stesp"'),
        ("zzz: 5", f'.zzz: unknown field: {KNOWN}, found "zzz"'),
        ("steps: ten", '.steps: expected a value of type integer, found "ten"'),
        ("steps: true", ".steps: expected a value of type integer, found true"),
        ("steps:", ".steps: expected a value of type integer, found null"),
        ("steps: 0", ".steps: expected at least 1, found 0"),
        ("steps: 1001", ".steps: expected at most 1000, found 1001"),
        ("rate: 0", ".rate: expected more than 0, found 0"),
        ("rate: 1.0", ".rate: expected less than 1, found 1.0"),
        ("rate: fast", '.rate: expected a value of type number or null, found "fast"'),
        ("device: tpu", '.device: expected one of cpu, cuda, found "tpu"'),
        ("seeds: [1, two]", '.seeds[1]: expected a value of type integer, found "two"'),
        ("seeds: [1, 2, 3]", ".seeds: expected at most 2 item(s), found [1, 2, 3]"),
        ("seeds: 0-8", '.seeds: expected text that matches ^[0-9]+:[0-9]+$, found "0-8"'),
        ("seeds: 3", ".seeds: expected a value of type array or string, found 3"),
        ("loss: {kind: stable, beta: 2}", ".loss.beta: expected at most 1, found 2"),
        ("loss: {kind: plain, beta: 2}", '.loss.beta: unknown field: expected one of kind, found "beta"'),
        ("rate: .nan", ".rate: expected a finite number, found NaN"),
        ("x-rate: -.inf", ".x-rate: expected a finite number, found -Infinity"),
    ],
)
def test_a_violation_inside_an_item_is_reported_at_its_line(load, field, message):
    assert (
        refusal(load, f"runs:\n- name: e1\n- x-note: fine\n  {field}\n  name: e2\n")
        == f"runs.yaml:4 $.runs[1]{message}"
    )


def test_the_first_violation_in_the_order_of_the_file_is_reported(load):
    assert refusal(load, "runs:\n- name: e1\n  steps: 0\n  device: tpu\n").startswith("runs.yaml:3 ")
    assert refusal(load, "runs:\n- name: e1\n  device: tpu\n  steps: 0\n").startswith("runs.yaml:3 $.runs[0].device")


def test_a_long_value_is_cut(load):
    message = refusal(load, f"runs:\n- name: e1\n  device: {'x' * 10_000}\n")
    assert len(message) < 200
    assert message.endswith("...")


PLAIN = "text, a number, true, false, null, a list or a mapping"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 2\n  c: 3\n", 'runs.yaml:4: found duplicate key "c"'),
        ("a: [1, 2\n", "runs.yaml:2: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a:\n\tb: 1\n", r"runs.yaml:2: not YAML: found character '\t' that cannot start any token"),
        ("a: 1\n---\nb: 2\n", "runs.yaml:2: not YAML: but found another document"),
        ("%YAML 1.1\n---\na: no\n", "runs.yaml:2: expected YAML 1.2, found YAML 1.1"),
        ("a: 1\nb: 2026-01-31\n", f"runs.yaml:2 $.b: expected {PLAIN} (quote it to make it text), found 2026-01-31"),
        ("a: 1\n2: b\n", "runs.yaml:2 $: expected a key that is text (quote it), found 2"),
        ("a:\n  - true: b\n", "runs.yaml:2 $.a[0]: expected a key that is text (quote it), found true"),
        ("? [a, b]\n: c\n", "runs.yaml:1 $: expected a key that is text (quote it), found a sequence"),
        ("a: {x: 1}\nb: {<<: {y: 2}}\n", "runs.yaml:2 $.b: expected a key that is text (quote it), found <<"),
    ],
)
def test_what_is_not_a_document_of_ours_is_refused_at_its_line(load, text, message):
    assert refusal(load, text, check=False) == message


def test_json_that_cannot_be_read(load):
    options = {"name": "runs.json", "check": False}
    assert refusal(load, '{"a": 1,\n "b": }', **options) == "runs.json:2: not JSON: Expecting value (column 7)"
    assert refusal(load, '{"a": {"b": 1, "c": 2, "b": 3}}', **options) == 'runs.json: found duplicate key "b"'
    assert refusal(load, "", **options) == "runs.json:1: not JSON: Expecting value (column 1)"
    assert refusal(load, '{"runs": [{"name": "e1", "rate": NaN}]}', name="runs.json").endswith("found NaN")


# --- The attacker lives in the repository -------------------------------------------------------------------------

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("laughs.yaml", LAUGHS, "laughs.yaml:1: anchors and aliases are not accepted"),
        ("snake.yaml", "a: &a [*a]\n", "snake.yaml:1: anchors and aliases are not accepted"),
        ("call.yaml", "a: 1\nb: !!python/object/apply:os.system [ls]\n", "call.yaml:2: tags are not accepted"),
        ("bool.yaml", "a: !!bool perhaps\n", "bool.yaml:1: tags are not accepted"),
        ("null.yaml", "a: \x00\n", "null.yaml: not YAML: unacceptable character"),
        ("deep.yaml", "[" * 2000 + "]" * 2000, "deep.yaml:1: nested too deeply"),
        ("deeper.yaml", "[" * 100_000, "deeper.yaml:1: nested too deeply"),
        ("deep.json", "[" * 100_000, "deep.json: nested too deeply"),
        ("digits.yaml", f"a: {'1' * 5000}\n", "digits.yaml: not YAML: Exceeds the limit"),
        ("digits.json", "1" * 5000, "digits.json: not JSON: Exceeds the limit"),
    ],
)
def test_an_attack_is_an_input_error(load, name, text, message):
    assert refusal(load, text, name=name).startswith(message)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "large.json"
    path.write_bytes(b"[" + b" " * 100)
    assert schema.read_bytes(path, 101) == path.read_bytes()
    monkeypatch.setattr(Path, "open", lambda *_args: pytest.fail("was read"))
    with pytest.raises(InputError, match=r"large\.json: file too large: expected at most 100 bytes, found 101"):
        schema.read_bytes(path, 100)


def test_what_has_no_size_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "zero.json"):
        with pytest.raises(InputError, match=rf"{name}: not a regular file"):
            schema.load(tmp_path / name)


def test_a_file_that_is_larger_than_it_said_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / "log.json"
    path.write_bytes(b"[1, 2]")
    before = path.stat()
    path.write_bytes(b"[1, 2, 3]")
    monkeypatch.setattr(Path, "stat", lambda _path: before)
    with pytest.raises(InputError, match=r"log\.json: grew while it was read"):
        schema.read_bytes(path)


def test_bytes_that_are_no_document(load, tmp_path):
    assert refusal(load, b"a: \xff\n") == "runs.yaml: not UTF-8 text (byte 3)"
    with pytest.raises(InputError, match=r"missing\.yaml: No such file or directory"):
        schema.load(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match=r": Is a directory"):
        schema.load(tmp_path)
    with pytest.raises(InputError, match=r": Not a directory"):
        schema.load(tmp_path / "runs.yaml" / "below.yaml")


PIECES = [
    "a",
    "b: ",
    "- ",
    "? ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\n",
    "  ",
    "\t",
    "&x ",
    "*x ",
    "!!int ",
    "!t ",
    "|\n",
    "> ",
]
PIECES += [
    "'",
    '"',
    "#c",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "---\n",
    "...\n",
    "1",
    "-",
    ".",
    "0x",
    "_",
    "~",
    "<<",
    "\\",
    "é",
    "\ufeff",
]
PIECES += ["@", "`", ".nan", "2026-01-31", "true", "=", ".inf", "0b", '"a":', "null", "1e999", "\x85", "\u2028"]


@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=16).map("".join),
    st.sampled_from([".yaml", ".json"]),
)
def test_any_text_is_a_document_or_an_input_error(tmp_path_factory, text, suffix):
    path = tmp_path_factory.mktemp("documents") / f"any{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError) as caught:  # a list of at least one experiment is never met by chance
        schema.load(path, "params")
    assert str(caught.value).startswith(str(path))


# --- The shipped schemas ------------------------------------------------------------------------------------------

SHIPPED = sorted((Path(schema.__file__).parent / "schemas").glob("*.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_schema_is_valid_and_closed(path):
    assert path.name.endswith(".schema.json")
    text = json.loads(path.read_text("utf-8"))
    assert text["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(text)
    assert schema.validator(path.name.removesuffix(".schema.json")).schema == text
