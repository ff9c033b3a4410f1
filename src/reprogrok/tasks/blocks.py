"""The fixed blocks of rows that the data loader of llm.c reads as batches; imports no torch."""

from __future__ import annotations

from reprogrok.errors import InputError


def whole_blocks(count: int, size: int) -> int:
    """Count the blocks of `size` rows in a file of `count` rows, as the loader of llm.c does.

    The last position of a row predicts the first token of the next row, so the last row of a file never counts: blocks
    of 512 hold 4,608 of 4,704 rows (nine), and 4,096 of 4,608 rows (eight).

    Raises:
        InputError: the rows do not fill one block.
    """
    check_filled(count, size, count - 1)
    return (count - 1) // size


def check_filled(count: int, size: int, most: int) -> None:
    """Check that a batch of `size` examples can be filled from `count`, of which `most` can be used.

    Raises:
        InputError: it cannot.
    """
    if size > most:
        expected = f"at most {most}: there are {count} training examples"
        raise InputError("a batch that cannot be filled", field="$.batch.size", expected=expected, found=str(size))
