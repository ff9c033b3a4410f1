"""Single problems -> the real model's answers, with the margin of every digit.

Greedy decoding in float32, as `reprogrok predict` does: counterexamples and the smallest margin met can be reproduced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reprogrok.exam.exam import Examinee
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.problems import Pairs

Problem = tuple[int, int]


@dataclass(frozen=True)
class ProblemAnswer:
    """The model's answer to a + b.

    Attributes:
        answer: the answer as text; a token that is no digit stays visible.
        right: whether every digit is right.
        place: the first wrong digit, from the least significant on; of a right answer the one with the least margin.
        margins: by place, the right digit's logit minus the largest other one.
    """

    a: int
    b: int
    answer: str
    right: bool
    place: int
    margins: tuple[float, ...]

    @property
    def margin(self) -> float:
        """The margin at `place`."""
        return self.margins[self.place]


def ask(examinee: Examinee, digits: int, problems: Sequence[Problem]) -> list[ProblemAnswer]:
    """Decode every problem greedily."""
    if not problems:
        return []
    task = Addition(digits)
    pairs = Pairs(*torch.tensor(problems).T)
    answer_BA, logits_BVA = examinee.generate(pairs)
    right_BA = task.columns(pairs.a, pairs.b)[task.prompt_length : task.prompt_length + task.answer_length].T
    of_right_B1A = logits_BVA.gather(1, right_BA.unsqueeze(1))
    others_BVA = logits_BVA.scatter(1, right_BA.unsqueeze(1), -torch.inf)
    margin_BA = of_right_B1A.squeeze(1) - others_BVA.amax(1)
    # A token that was chosen among infinities and NaN is never a right digit.
    good_BA = (answer_BA == right_BA) & margin_BA.isfinite()
    answers = []
    for (a, b), answer_A, good_A, margin_A in zip(problems, answer_BA, good_BA, margin_BA, strict=True):
        right = bool(good_A.all())
        place = int(margin_A.argmin()) if right else int((~good_A).int().argmax())
        answers.append(ProblemAnswer(a, b, task.text(answer_A.tolist()), right, place, tuple(margin_A.tolist())))
    return answers
