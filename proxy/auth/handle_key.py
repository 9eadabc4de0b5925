"""The key that handles are bound with: the same in every replica and worker, and after every restart."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.settings import KEY_CHARACTERS, Settings, SettingsFault, variable

_PURPOSE = b"shape-proxy handles v1"


def handle_key(settings: Settings) -> bytes:
    """PROXY_HANDLE_KEY, or without it ELECTRIC_SECRET, made into a key of this one purpose (HKDF, RFC 5869).

    Raises SettingsFault if there is neither.
    """
    secret = settings.handle_key or settings.electric_secret
    text = secret.get_secret_value().encode()
    if not text:
        raise SettingsFault(
            f"{variable('handle_key')}: is required where ELECTRIC_SECRET is empty; {KEY_CHARACTERS} characters or "
            "more, such as `openssl rand -hex 32` prints"
        )
    return HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(text)


def is_guessable(settings: Settings) -> bool:
    """Whether the key comes from a short ELECTRIC_SECRET: clients see what is made with it, and can try secrets."""
    return settings.handle_key is None and len(settings.electric_secret) < KEY_CHARACTERS
