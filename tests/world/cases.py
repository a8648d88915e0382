"""Which cases of a test the default suite tries."""

import os
import zlib

import pytest

CASES = 1
"""Of a test on a database of its own that says nothing else: what a case costs there is many times its share of proof."""

ELSEWHERE = ("SEQDEV_TEST_GENERATION", "SEQDEV_TEST_CITUS_URL")
"""Where the tests run on another host than usual, all of these are tried."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test with ``cases(n)``, n cases spread evenly stay in the default suite; of others on a database, ``CASES``.

    Which one that is depends on the test's name: what many tests have as cases, such as the policies, are all tried.
    """
    cases: dict[str, list[pytest.Item]] = {}
    samples = not any(os.environ.get(name) for name in ELSEWHERE)
    for item in items:
        if item.get_closest_marker("cases") or (samples and "database" in getattr(item, "fixturenames", ())):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, all_cases in cases.items():
        marker = all_cases[0].get_closest_marker("cases")
        if marker:
            number = marker.args[0]
            kept = {place * len(all_cases) // number for place in range(number)}
        else:
            first = zlib.crc32(name.encode())
            kept = {(first + place) % len(all_cases) for place in range(CASES)}
        for place, item in enumerate(all_cases):
            if place not in kept:
                item.add_marker("thorough")
