"""The arithmetic of the bill: a month computed by hand, and what holds for every number of jobs."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.cost import model, reading
from cli.cost.model import Demand, Line, bill, peers, per_million, total

PRICES = reading.prices("us-east-1")
ASSUMPTIONS = reading.assumptions()
JOBS = st.decimals(min_value=0, max_value=10**10, places=0)
BATCHES = st.integers(min_value=1, max_value=1_000).map(Decimal)
DEMANDS = st.builds(
    Demand, jobs=JOBS, jobs_per_request=BATCHES, stores=st.sampled_from(["create", "bring"]), free_tier=st.booleans()
)


def dollars(lines: tuple[Line, ...], group: str, component: str | None = None) -> Decimal:
    """A group's, or one line's, dollars in whole hundredths of a cent."""
    chosen = [line for line in lines if line.group == group and component in (None, line.component)]
    assert chosen
    return round(total(chosen), 4)


def test_an_idle_month_by_hand() -> None:
    lines = bill(Demand(jobs=Decimal(0)), ASSUMPTIONS, PRICES)
    # 43,200 runs of 50 ms and 360 cold starts of 1.5 s are 2,700 s: 4,664.6 GB-s at 1,769 MB, 1,350 at 512 MB.
    assert dollars(lines, "Lambda", "executor") == Decimal("0.0622")
    assert dollars(lines, "Lambda", "populator") == dollars(lines, "Lambda", "recurrence") == Decimal("0.0180")
    # 43,200 of 150 ms and the cold starts: 7,020 s at 512 MB.
    assert dollars(lines, "Lambda", "watcher") == Decimal("0.0468")
    # 4 x 43,200 = 172,800 invocations: 0.20 a million to Lambda, 1.00 to the scheduler, and 900 bytes of log each.
    assert dollars(lines, "Lambda", "requests") == Decimal("0.0346")
    assert dollars(lines, "EventBridge") == Decimal("0.1728")
    assert dollars(lines, "CloudWatch", "logs") == Decimal("0.0778")
    assert dollars(lines, "Aurora", "capacity") == Decimal("43.2000")  # 0.5 ACU x 720 h x 0.12
    assert dollars(lines, "ElastiCache", "data") == Decimal("6.0480")  # 0.1 GB x 720 h x 0.084
    assert dollars(lines, "Network", "NAT gateway") == Decimal("36.0000")  # 720 h x (0.045 + 0.005)
    assert round(total(lines), 2) == Decimal("95.48")


def test_a_hundred_million_jobs_by_hand() -> None:
    demand = Demand(jobs=Decimal(100_000_000), stores="bring")
    lines = bill(demand, ASSUMPTIONS, PRICES)
    assert dollars(lines, "API Gateway") == Decimal("100.0000")
    # An executor all month: 2,592,000 s, and 2,700 s as when idle, at 1,769 MB.
    assert dollars(lines, "Lambda", "executor") == Decimal("59.7662")
    # A request of 30 ms each, and 540 s of cold starts, at 1,024 MB.
    assert dollars(lines, "Lambda", "api") == Decimal("40.0074")
    # 105,000,000 attempts x 2 kB = 210 GB at 0.09.
    assert dollars(lines, "Network") == Decimal("18.9000")
    others = {peer.name: round(peer.dollars, 2) for peer in peers(demand, ASSUMPTIONS, PRICES)}
    assert others == {
        "EventBridge Scheduler": Decimal(100),
        "EventBridge Scheduler to HTTP": Decimal(220),
        "Cloud Tasks": Decimal(82),
        "QStash": Decimal(420),
    }


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_an_idle_installations_functions_cost_less_than_a_dollar(architecture: model.Architecture) -> None:
    assumptions = replace(ASSUMPTIONS, architecture=architecture)
    lines = bill(Demand(jobs=Decimal(0)), assumptions, PRICES)
    assert 0 < dollars(lines, "Lambda") < 1


def test_the_free_tier_covers_an_idle_installations_functions() -> None:
    lines = bill(Demand(jobs=Decimal(0), free_tier=True), ASSUMPTIONS, PRICES)
    assert dollars(lines, "Lambda") == dollars(lines, "EventBridge") == 0


@given(DEMANDS, JOBS)
def test_more_jobs_never_cost_less(demand: Demand, more: Decimal) -> None:
    larger = replace(demand, jobs=demand.jobs + more)
    assert total(bill(larger, ASSUMPTIONS, PRICES)) >= total(bill(demand, ASSUMPTIONS, PRICES))
    for before, after in zip(peers(demand, ASSUMPTIONS, PRICES), peers(larger, ASSUMPTIONS, PRICES), strict=True):
        if before.name != "QStash":  # a fixed plan may end, but then one pays by message: it never gets cheaper either
            assert after.dollars >= before.dollars


@given(DEMANDS)
def test_no_line_is_negative_and_the_total_is_their_sum(demand: Demand) -> None:
    lines = bill(demand, ASSUMPTIONS, PRICES)
    assert all(line.dollars >= 0 for line in lines)
    by_group = {line.group: Decimal(0) for line in lines}
    for line in lines:
        by_group[line.group] += line.dollars
    assert round(total(lines), 12) == round(sum(by_group.values()), 12)
    assert len({(line.group, line.component) for line in lines}) == len(lines)


@given(DEMANDS)
def test_dollars_per_million_times_millions_are_the_dollars(demand: Demand) -> None:
    whole = total(bill(demand, ASSUMPTIONS, PRICES))
    million = per_million(whole, demand.jobs)
    if demand.jobs:
        assert million is not None
        assert abs(million * demand.jobs / 1_000_000 - whole) < Decimal("1e-9")
    else:
        assert million is None


@given(JOBS, st.booleans())
def test_batches_free_tiers_and_given_stores_never_cost_more(jobs: Decimal, batched: bool) -> None:
    demand = Demand(jobs=jobs, jobs_per_request=Decimal(100 if batched else 1))
    dearest = total(bill(Demand(jobs=jobs), ASSUMPTIONS, PRICES))
    assert total(bill(demand, ASSUMPTIONS, PRICES)) <= dearest
    assert total(bill(Demand(jobs=jobs, free_tier=True), ASSUMPTIONS, PRICES)) <= dearest
    assert total(bill(Demand(jobs=jobs, stores="bring"), ASSUMPTIONS, PRICES)) <= dearest


@given(JOBS)
def test_an_executor_is_awake_between_never_and_always(jobs: Decimal) -> None:
    assert 0 <= model.awake(Demand(jobs=jobs), ASSUMPTIONS) <= 1
    assert 0 <= model.on_guard(Demand(jobs=jobs), ASSUMPTIONS) <= 1
