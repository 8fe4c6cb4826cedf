"""What the courier is given, and what it gives back."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult


class Signer(Protocol):
    """One of the merchant's webhook secrets, ready to sign."""

    def sign(self, message: bytes) -> bytes:
        """`v1,<base64>` for the bytes `{id}.{timestamp}.{body}`."""
        ...


class Parcel(NamedTuple):
    """A claimed job with what is needed to deliver it. A tuple, because thousands are made each second."""

    job: ClaimedJob
    signers: tuple[Signer, ...] = ()
    """The current secret first, after a rotation the previous one too; empty: unsigned."""
    allowed_arns: tuple[str, ...] = ()
    """The patterns of the AWS resources that the merchant may name; none by default."""
    weight: int = 1
    """How many of the merchant's parcels are sent for one of a merchant with weight 1, where both have some waiting."""


Delivery = tuple[ClaimedJob, DeliveryResult]
OnResults = Callable[[list[Delivery]], None]
