"""Every problem of a few digits, one by one: what parts and conditions mean, written a second time for tests."""

from itertools import product

import numpy as np


class PlainProblems:
    """All 100^n problems as columns: digits, carries and sum digits by place."""

    def __init__(self, digits):
        a_N, b_N = np.array(list(product(range(10**digits), repeat=2))).T
        self.digits, self.operands = digits, (a_N, b_N)
        self.a = [a_N // 10**i % 10 for i in range(digits)] + [0 * a_N]
        self.b = [b_N // 10**i % 10 for i in range(digits)] + [0 * b_N]
        self.carry = [(a_N % 10**i + b_N % 10**i) // 10**i for i in range(digits + 1)]
        self.digit = [(a_N + b_N) // 10**i % 10 for i in range(digits + 1)]

    def part(self, part):
        """Which problems lie in a part."""
        block, case = part.block, part.case
        j, cases = block.place, block.cases
        inside_N = (self.a[j] == cases.a[case]) & (self.b[j] == cases.b[case])
        if j > 0:
            inside_N &= (self.a[j - 1] == cases.a_before[case]) & (self.b[j - 1] == cases.b_before[case])
            inside_N &= self.carry[j - 1] == cases.carry[case]
        for place, mask in part.allowed.items():
            known = 0 < place < j - 1
            inside_N &= mask[(100 * self.carry[place] if known else 0) + 10 * self.a[place] + self.b[place]]
        return inside_N

    def values(self, what, place):
        """What a condition speaks of, for every problem."""
        a_N, b_N = self.a[place], self.b[place]
        return {
            "a": a_N,
            "b": b_N,
            "carry": self.carry[place],
            "digit": self.digit[place],
            "total": a_N + b_N,
            "pair": 10 * a_N + b_N,
            "least": np.where(a_N < b_N, a_N, b_N),
            "most": np.where(a_N < b_N, b_N, a_N),
            "unordered": np.where(a_N < b_N, 10 * a_N + b_N, 10 * b_N + a_N),
        }[what]

    def rule(self, rule):
        """Which problems hold all conditions."""
        holds_N = np.ones(len(self.a[0]), dtype=bool)
        for each in rule:
            values_N = self.values(each.what, each.place)
            holds_N &= (each.low <= values_N) & (values_N <= each.high)
        return holds_N
