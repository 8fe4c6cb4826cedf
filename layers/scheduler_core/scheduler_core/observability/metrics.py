"""Metrics in CloudWatch's embedded format: a log line, no call."""

from collections.abc import Mapping

from aws_lambda_powertools.metrics import Metrics, MetricUnit


def emit(
    namespace: str, *, service: str, seconds: Mapping[str, float | None], counts: Mapping[str, int | None]
) -> None:
    """Write these metrics down with the dimension `service`. None is not known, and so not said: 0 would be a claim."""
    metrics = Metrics(namespace=namespace, service=service)
    for unit, values in ((MetricUnit.Seconds, seconds), (MetricUnit.Count, counts)):
        for name, value in values.items():
            if value is not None:
                metrics.add_metric(name=name, unit=unit, value=value)
    metrics.flush_metrics()
