"""API keys, from the environment alone. They are never stored, logged or shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from mm_pipeline.domain.account import AccountPolicy
from mm_pipeline.domain.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Key, secret and passphrase of an account."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)

    @classmethod
    def from_environment(
        cls, policy: AccountPolicy, environment: Mapping[str, str] | None = None
    ) -> Credentials | None:
        """Read the variables that the settings name; None where none of them is set.

        Raises
        ------
        ConfigError
            When some are set and others are not.
        """
        environment = os.environ if environment is None else environment
        names = (policy.api_key_env, policy.api_secret_env, policy.api_passphrase_env)
        values = [environment.get(name, "").strip() for name in names]
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if len(missing) == len(names):
            return None
        if missing:
            raise ConfigError(
                f"of the API key's variables {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.",
                "Set all three, or none to go without the exchange's account.",
                key="account.api_key_env",
            )
        return cls(key=values[0], secret=values[1], passphrase=values[2])
