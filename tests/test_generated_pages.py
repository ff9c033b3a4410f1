"""Pages that repeat the code say what the code says: `make pages` writes them."""

import pytest
from generated_pages import BEGIN, END, PAGES, architecture, with_generated


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_code_says(page):
    text = page.read_text("utf-8")
    assert text == with_generated(text, PAGES[page]()), f"run `make pages`: {page.name} is out of date"


def test_a_module_that_is_added_changes_the_page(tmp_path):
    for room in ("train", "gates"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text(f'"""The room {room}."""\n', "utf-8")
    (tmp_path / "errors.py").write_text('"""The errors."""\n', "utf-8")
    before = architecture(tmp_path)
    (tmp_path / "train" / "engine.py").write_text('"""Train replicas\nside by side.\n\n    a map\n"""\n', "utf-8")
    after = architecture(tmp_path)
    assert set(after.splitlines()) - set(before.splitlines()) == {"- `engine.py`: Train replicas side by side."}


def test_what_stands_around_the_markers_stays():
    assert with_generated(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
