"""Metrics as Prometheus reads them."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

Samples = dict[tuple[str, ...], float]


def read(text: str) -> Samples:
    """The values by name and labels. Both parsers take it, and read the same."""
    assert text.endswith("\n# EOF\n")
    found = []
    for parser in (openmetrics, prometheus):
        samples = [sample for family in parser(text) for sample in family.samples]
        found.append({(one.name, *one.labels.values()): float(one.value) for one in samples})
        assert len(found[-1]) == len(samples)
    assert found[0] == found[1]
    return found[0]
