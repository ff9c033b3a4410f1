"""Documents reach stdout as UTF-8 bytes, in the order in which they were printed."""

import io
import sys

import pytest

from reprogrok.console import write


@pytest.mark.parametrize("document", ["ln(97) \u2248 4.57\n", "ln(97) \u2248 4.57\n".encode()])
def test_a_document_is_utf_8_on_a_stdout_that_is_not(monkeypatch, document):
    stdout = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    sys.stdout.write("before\n")
    write(document)
    sys.stdout.write("after\n")
    sys.stdout.flush()
    assert stdout.buffer.getvalue().decode("utf-8") == "before\nln(97) \u2248 4.57\nafter\n"
