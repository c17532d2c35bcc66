"""Every threshold and choice of an installation: how settings load, beside their shipped values."""

from mm_pipeline.settings.loading import (
    CALIBRATION_FOLDER,
    PAPER,
    Deployment,
    SettingInfo,
    Settings,
    describe,
    load_deployment,
    load_settings,
    policy_names,
)

__all__ = [
    "CALIBRATION_FOLDER",
    "PAPER",
    "Deployment",
    "SettingInfo",
    "Settings",
    "describe",
    "load_deployment",
    "load_settings",
    "policy_names",
]
