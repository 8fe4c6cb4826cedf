"""The arithmetic of a month's bill. Pure: prices and assumptions come in, lines go out, all in decimal dollars.

A month has 30 days, a GB of logs, rows and traffic 10^9 bytes. Jobs come one at a time, at random times all over the
month. That is the dearest way for a number of jobs: an executor sleeps from one to the next, and its sleep is billed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

DAYS: Final = Decimal(30)
HOURS: Final = DAYS * 24
MINUTES: Final = HOURS * 60
SECONDS: Final = MINUTES * 60
MILLION: Final = Decimal(1_000_000)
GB: Final = Decimal(10**9)
_HTTP_API_TIER: Final = 300 * MILLION
_ZERO: Final = Decimal(0)
_FIXED_PLANS: Final = (("qstash_fixed_1m_a_day", MILLION), ("qstash_fixed_10m_a_day", 10 * MILLION))

Stores = Literal["create", "bring"]
Architecture = Literal["arm64", "x86_64"]
Figures = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A Lambda function: its memory, how often a month a schedule invokes it, and what an idle run is billed."""

    name: str
    memory_mb: int
    ticks: Decimal = _ZERO
    idle_milliseconds: Decimal = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is supposed; `figures` are those of assumptions.toml by name."""

    architecture: Architecture
    functions: tuple[Function, ...]
    figures: Figures

    def __getitem__(self, name: str) -> Decimal:
        return self.figures[name]

    def function(self, name: str) -> Function:
        """The function of that name. Raises StopIteration where there is none."""
        return next(function for function in self.functions if function.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """A region's list prices and those of the peers, in dollars, by the names of prices.toml."""

    region: str
    figures: Figures
    unverified: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Decimal:
        return self.figures[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of the installation in a month."""

    jobs: Decimal
    jobs_per_request: Decimal = Decimal(1)
    stores: Stores = "create"
    free_tier: bool = False

    @property
    def requests(self) -> Decimal:
        return self.jobs / self.jobs_per_request

    @property
    def jobs_per_second(self) -> Decimal:
        return self.jobs / SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the bill, in dollars a month."""

    group: str
    component: str
    dollars: Decimal


def bill(demand: Demand, assumptions: Assumptions, prices: Prices) -> tuple[Line, ...]:
    """Every line of a month's bill."""
    parts = [_lambda(demand, assumptions, prices), _gateway(demand, prices), _ticks(demand, assumptions, prices)]
    parts += [_cloudwatch(demand, assumptions, prices), _keys(demand, assumptions, prices)]
    parts += [_messages(demand, assumptions, prices)]
    if demand.stores == "create":
        parts += [_database(demand, assumptions, prices), _cache(demand, assumptions, prices)]
    parts += [_network(demand, assumptions, prices)]
    return tuple(line for lines in parts for line in lines)


def total(lines: Sequence[Line]) -> Decimal:
    """Their sum."""
    return sum((line.dollars for line in lines), _ZERO)


def per_million(dollars: Decimal, jobs: Decimal) -> Decimal | None:
    """Dollars for a million jobs; None where there are no jobs."""
    return dollars * MILLION / jobs if jobs else None


# Lambda -------------------------------------------------------------------------------------------------------------


def awake(demand: Demand, assumptions: Assumptions) -> Decimal:
    """The share of the month in which an executor is awake: something falls due within `awake_seconds`."""
    return 1 - (-demand.jobs_per_second * assumptions["awake_seconds"]).exp()


def on_guard(demand: Demand, assumptions: Assumptions) -> Decimal:
    """The share of the month in which a watcher guards running jobs."""
    held = assumptions["target_milliseconds"] / 1_000 + assumptions["watch_seconds"]
    return 1 - (-demand.jobs_per_second * held).exp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a function uses in a month, cold starts aside: invocations, and billed seconds of them."""

    function: Function
    invocations: Decimal
    seconds: Decimal


def use(demand: Demand, assumptions: Assumptions) -> tuple[Use, ...]:
    """What every function uses."""
    extra = {
        "api": _api(demand, assumptions),
        "authorizer": _authorizer(demand, assumptions),
        "executor": _executor(demand, assumptions),
        "populator": (_ZERO, demand.jobs * assumptions["populator_milliseconds_per_job"] / 1_000),
        "watcher": _watcher(demand, assumptions),
    }
    uses = []
    for function in assumptions.functions:
        invocations, seconds = extra.get(function.name, (_ZERO, _ZERO))
        idle = function.ticks * function.idle_milliseconds / 1_000
        uses.append(Use(function=function, invocations=function.ticks + invocations, seconds=idle + seconds))
    return tuple(uses)


def _api(demand: Demand, assumptions: Assumptions) -> tuple[Decimal, Decimal]:
    further = (demand.jobs_per_request - 1) * assumptions["api_milliseconds_per_further_job"]
    return demand.requests, demand.requests * (assumptions["api_milliseconds"] + further) / 1_000


def _authorizer(demand: Demand, assumptions: Assumptions) -> tuple[Decimal, Decimal]:
    asked = min(demand.requests, assumptions["keys_in_use"] * MINUTES)
    return asked, asked * assumptions["authorizer_milliseconds"] / 1_000


def _executor(demand: Demand, assumptions: Assumptions) -> tuple[Decimal, Decimal]:
    share = awake(demand, assumptions)
    working = demand.jobs * assumptions["attempts"] / assumptions["executor_jobs_per_second"]
    return MINUTES * share, max(SECONDS * share, working)


def _watcher(demand: Demand, assumptions: Assumptions) -> tuple[Decimal, Decimal]:
    share = on_guard(demand, assumptions)
    return SECONDS * share / assumptions["watch_seconds"], SECONDS * share


def _lambda(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    uses = use(demand, assumptions)
    second = prices[f"lambda_gb_second_{assumptions.architecture}"]
    cold = DAYS * assumptions["cold_starts_per_day"] * assumptions["cold_start_seconds"]
    gb_seconds = {
        u.function.name: (u.seconds + (cold if u.invocations else 0)) * u.function.memory_mb / 1_024 for u in uses
    }
    requests = sum((u.invocations for u in uses), _ZERO)
    paid_requests = _beyond(requests, prices["lambda_free_requests"], demand)
    all_seconds = sum(gb_seconds.values(), _ZERO)
    paid_share = _beyond(all_seconds, prices["lambda_free_gb_seconds"], demand) / all_seconds if all_seconds else _ZERO
    lines = [
        Line(group="Lambda", component=name, dollars=used * second * paid_share) for name, used in gb_seconds.items()
    ]
    lines.append(
        Line(group="Lambda", component="requests", dollars=paid_requests / MILLION * prices["lambda_million_requests"])
    )
    return lines


# Around it ----------------------------------------------------------------------------------------------------------


def _gateway(demand: Demand, prices: Prices) -> list[Line]:
    first = min(demand.requests, _HTTP_API_TIER)
    rest = demand.requests - first
    dollars = (first * prices["http_api_million"] + rest * prices["http_api_million_above_300m"]) / MILLION
    return [Line(group="API Gateway", component="HTTP API requests", dollars=dollars)]


def _ticks(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    ticks = sum((function.ticks for function in assumptions.functions), _ZERO)
    paid = _beyond(ticks, prices["scheduler_free_invocations"], demand)
    return [Line(group="EventBridge", component="ticks", dollars=paid / MILLION * prices["scheduler_million"])]


def _cloudwatch(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    invocations = sum((each.invocations for each in use(demand, assumptions)), _ZERO)
    written = invocations * assumptions["bytes_per_invocation"] + demand.requests * assumptions["bytes_per_request"]
    logs = _beyond(written / GB, prices["logs_free_gb"], demand) * prices["logs_gb"]
    counted = {
        each: _beyond(assumptions[each], prices[f"free_{each}"], demand) * prices[each.removesuffix("s")]
        for each in ("metrics", "alarms", "dashboards")
    }
    amounts = {"logs": logs, **counted}
    return [Line(group="CloudWatch", component=component, dollars=dollars) for component, dollars in amounts.items()]


def _keys(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    reads = DAYS * assumptions["cold_starts_per_day"] * len(assumptions.functions) * assumptions["secrets"]
    decrypted = _beyond(reads, prices["kms_free_requests"], demand)
    kms = assumptions["kms_keys"] * prices["kms_key"] + decrypted / 10_000 * prices["kms_10k_requests"]
    secrets = assumptions["secrets"] * prices["secret"] + reads / 10_000 * prices["secret_10k_calls"]
    return [
        Line(group="KMS", component="key", dollars=kms),
        Line(group="Secrets Manager", component="secrets", dollars=secrets),
    ]


def _messages(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    mails = _beyond(assumptions["emails"], prices["sns_free_emails"], demand)
    published = _beyond(assumptions["emails"], prices["sns_free_requests"], demand)
    queued = _beyond(assumptions["dead_lettered_invocations"] * 3, prices["sqs_free_requests"], demand)  # in, out, gone
    amounts = {
        "alerts": mails / 100_000 * prices["sns_100k_emails"] + published / MILLION * prices["sns_million"],
        "failed invocations": queued / MILLION * prices["sqs_million"],
    }
    return [Line(group="SNS, SQS", component=component, dollars=dollars) for component, dollars in amounts.items()]


# Data stores that the installation makes ----------------------------------------------------------------------------


def _database(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    acu = max(assumptions["least_acu"], demand.jobs_per_second / assumptions["jobs_per_second_per_acu"])
    stored = demand.jobs * assumptions["bytes_per_job"] / GB
    asked = demand.jobs * assumptions["io_per_job"] + MINUTES * assumptions["idle_io_per_minute"]
    amounts = {
        "capacity": acu * HOURS * prices["aurora_acu_hour"],
        "storage": stored * prices["aurora_gb_month"],
        "I/O": asked / MILLION * prices["aurora_million_io"],
    }
    return [Line(group="Aurora", component=component, dollars=dollars) for component, dollars in amounts.items()]


def _cache(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    units = demand.jobs * assumptions["ecpu_per_job"] + MINUTES * assumptions["idle_ecpu_per_minute"]
    units += SECONDS * awake(demand, assumptions) * assumptions["awake_ecpu_per_second"]
    amounts = {
        "data": prices["cache_least_gb"] * HOURS * prices["cache_gb_hour"],
        "commands": units / MILLION * prices["cache_million_ecpu"],
    }
    return [Line(group="ElastiCache", component=component, dollars=dollars) for component, dollars in amounts.items()]


def _network(demand: Demand, assumptions: Assumptions, prices: Prices) -> list[Line]:
    attempts = demand.jobs * assumptions["attempts"]
    out, back = attempts * assumptions["bytes_out"] / GB, attempts * assumptions["bytes_in"] / GB
    sent = _beyond(out, prices["internet_free_gb"], demand) * prices["internet_gb"]
    lines = [Line(group="Network", component="to the internet", dollars=sent)]
    if demand.stores == "create":
        standing = HOURS * (prices["nat_hour"] + prices["address_hour"]) + (out + back) * prices["nat_gb"]
        lines.append(Line(group="Network", component="NAT gateway", dollars=standing))
    return lines


# Others -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What the same number of jobs costs elsewhere, and what to know about it."""

    name: str
    dollars: Decimal
    remark: str


def peers(demand: Demand, assumptions: Assumptions, prices: Prices) -> tuple[Peer, ...]:
    """The services that would deliver the same jobs, without what the jobs' own targets cost."""
    scheduled = (
        _beyond(demand.jobs, prices["scheduler_free_invocations"], demand) / MILLION * prices["scheduler_million"]
    )
    forwarded = demand.jobs / MILLION * (prices["custom_event_million"] + prices["api_destination_million"])
    operations = demand.jobs * (1 + assumptions["attempts"])
    tasks = _beyond(operations, prices["cloud_tasks_free_operations"], demand) / MILLION * prices["cloud_tasks_million"]
    plan, qstash = _qstash(demand, prices)
    return (
        Peer(name="EventBridge Scheduler", dollars=scheduled, remark="to AWS targets; within a minute"),
        Peer(
            name="EventBridge Scheduler to HTTP",
            dollars=scheduled + forwarded,
            remark="through a bus and an API destination",
        ),
        Peer(
            name="Cloud Tasks",
            dollars=tasks,
            remark="an operation to create, one for each attempt; 30 days ahead at most",
        ),
        Peer(name="QStash", dollars=qstash, remark=plan),
    )


def _qstash(demand: Demand, prices: Prices) -> tuple[str, Decimal]:
    a_day = demand.jobs / DAYS
    if demand.free_tier and a_day <= prices["qstash_free_a_day"]:
        return "free plan", _ZERO
    plans = [("pay as you go", demand.jobs / 100_000 * prices["qstash_100k"])]
    names = (f"fixed plan of {most / MILLION:.0f} million a day" for _, most in _FIXED_PLANS)
    plans += [(name, prices[plan]) for name, (plan, most) in zip(names, _FIXED_PLANS, strict=True) if a_day <= most]
    return min(plans, key=lambda plan: plan[1])


def _beyond(amount: Decimal, free: Decimal, demand: Demand) -> Decimal:
    """What is left to pay for."""
    return max(_ZERO, amount - free) if demand.free_tier else amount
