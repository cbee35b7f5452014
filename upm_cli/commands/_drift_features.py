"""`upm drift-report --by feature`: the table that people see."""

from typing import TYPE_CHECKING

from upm_cli.commands._output import Column, Table

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.core.features.drift import FeaturePolicy
    from upm_cli.ops.feature_drift import FeatureReport


def feature_policy(settings: "Settings", window_ms: int | None) -> "FeaturePolicy":
    """Return how features are followed, in windows of another length if one is given."""
    from upm_cli.ops.feature_drift import policy_of

    return policy_of(settings.evidence, window_ms or settings.drift_monitor.window_duration_ms)


def feature_headline(report: "FeatureReport") -> str:
    """Return the features in one sentence."""
    from upm_cli.ops.report_features import headline

    return headline(report)


def feature_table() -> Table:
    """Return the table of the features."""
    from upm_cli.ops.report_features import STATUSES, chance, number, percent

    columns = [
        Column("status", "STATUS", show=lambda status: " ".join(STATUSES[status])),
        Column("feature", "FEATURE"),
        Column("psi", "PSI", right=True, show=number),
        Column("w1", "W1/IQR", right=True, show=number),
        Column("ks", "KS", right=True, show=number),
        Column("p_adjusted", "P (ALL)", right=True, show=chance),
        Column("missing_before", "MISSING THEN", right=True, show=percent),
        Column("missing", "NOW", right=True, show=percent),
    ]
    return Table(key="features", columns=columns, empty="no features yet: upm train brings windows into the log")
