"""The installation's key, from which every merchant's webhook secret is derived."""

from scheduler_core.domain.errors import SecretUnavailableError
from scheduler_core.kept_secrets import secret_of
from scheduler_core.settings import SIGNING_KEY_CHARACTERS, SigningSettings


def installation_key(settings: SigningSettings) -> bytes:
    """The key that was given or is kept as a secret. Raises SecretUnavailableError; a short key is none."""
    key = secret_of(settings.signing_key, settings.signing_key_secret_arn, settings).value()
    if len(key) < SIGNING_KEY_CHARACTERS:
        source = settings.signing_key_secret_arn
        raise SecretUnavailableError(f"{source}: a signing key has at least {SIGNING_KEY_CHARACTERS} characters")
    return key.encode()
