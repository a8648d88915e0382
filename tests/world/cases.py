"""Which cases of a test the default suite tries."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test with ``cases(n)``, n cases spread evenly stay in the default suite."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("cases"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for all_cases in cases.values():
        marker = all_cases[0].get_closest_marker("cases")
        assert marker
        number = marker.args[0]
        kept = {place * len(all_cases) // number for place in range(number)}
        for place, item in enumerate(all_cases):
            if place not in kept:
                item.add_marker("thorough")
