"""Metrics in CloudWatch's embedded format: a log line, no call."""

from aws_lambda_powertools.metrics import Metrics, MetricUnit


def emit(namespace: str, gauges_in_seconds: dict[str, float], counts: dict[str, int]) -> None:
    """Write these metrics down, under one namespace, without dimensions but the service's name."""
    metrics = Metrics(namespace=namespace)
    for name, seconds in gauges_in_seconds.items():
        metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=seconds)
    for name, count in counts.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
    metrics.flush_metrics()
