"""The rows of dashboard UPM-001 about what comes in and how it is judged."""

from typing import Final

from upm_cli.telemetry.metrics.panels import Panel, Row, ask

STREAM: Final = Row(
    "Stream",
    (
        Panel(
            title="Windows consumed",
            about="Windows read from sources, and learned, each second.",
            queries=(
                ask("sum by (trainer) (rate(upm_windows_read_total{OF}[$__rate_interval]))", "{{trainer}} read"),
                ask(
                    'sum by (trainer) (rate(upm_windows_total{OF,fate="trained"}[$__rate_interval]))',
                    "{{trainer}} learned",
                ),
                ask("sum by (trainer) (upm_trainer_windows_per_second{OF})", "{{trainer}} right now"),
            ),
            unit="ops",
            lowest=0,
        ),
        Panel(
            title="What became of windows",
            about="Windows of the last hour by their fate. Dead letters: upm events dead-letters.",
            queries=(ask("sum by (fate) (increase(upm_windows_total{OF}[1h]))", "{{fate}}"),),
            explain="UPM-A016",
            lowest=0,
            is_stacked=True,
        ),
        Panel(
            title="Lag",
            about="How long the oldest row of the log that is not learned has waited.",
            queries=(ask("max by (trainer) (upm_trainer_lag_seconds{OF})", "{{trainer}}"),),
            unit="s",
            limits=((300, "red"),),
            explain="UPM-A015",
            lowest=0,
        ),
        Panel(
            title="Rows that wait",
            about="Log rows that are not learned yet, and windows that wait for their turn or their label.",
            queries=(
                ask("sum by (trainer) (upm_trainer_lag_rows{OF})", "{{trainer}} rows"),
                ask("sum by (trainer) (upm_windows_pending{OF})", "{{trainer}} windows"),
            ),
            lowest=0,
        ),
        Panel(
            title="Disorder",
            about=(
                "Late arrivals, windows released early as the buffer was full, and holes in event time, within "
                "the last hour."
            ),
            queries=(
                ask(
                    "sum by (stream) (increase(upm_replay_buffer_late_arrivals_total{AT}[1h]))",
                    "{{stream}} late arrivals",
                ),
                ask("sum by (stream) (increase(upm_replay_buffer_early_releases_total{AT}[1h]))", "{{stream}} early"),
                ask("sum by (stream) (increase(upm_stream_gaps_total{AT}[1h]))", "{{stream}} gaps"),
                ask("sum by (stream, fate) (increase(upm_stream_labels_total{AT}[1h]))", "{{stream}} labels {{fate}}"),
            ),
            lowest=0,
        ),
        Panel(
            title="Age of the newest event time",
            about=(
                "How far the watermark of each stream is behind the clock: what is upstream, disorder and "
                "lateness together."
            ),
            queries=(ask("time() - max by (stream) (upm_stream_watermark_timestamp_seconds{AT})", "{{stream}}"),),
            unit="s",
        ),
    ),
)

JUDGING: Final = Row(
    "Judging",
    (
        Panel(
            title="Drift mean and maximum",
            about="Mean and largest drift of the last hour of event time, and what they are made of.",
            queries=(
                ask('max by (trainer) (upm_drift_mean{OF,range="1h"})', "{{trainer}} mean"),
                ask('max by (trainer) (upm_drift_max{OF,range="1h"})', "{{trainer}} max"),
            ),
            lowest=0,
        ),
        Panel(
            title="Comparisons judged",
            about="Comparisons behind the drift of the last hour and day. Too few make a verdict unknown.",
            queries=(ask("sum by (trainer, range) (upm_drift_samples{OF})", "{{trainer}} {{range}}"),),
            lowest=0,
        ),
        Panel(
            title="Drift windows that passed",
            about="Share of the windows judged so far whose P95 was below the limit; shadow may be left at 95 %.",
            queries=(
                ask(
                    'sum by (trainer) (upm_drift_windows_judged_total{OF,verdict="pass"})'
                    " / sum by (trainer) (upm_drift_windows_judged_total{OF})",
                    "{{trainer}}",
                ),
            ),
            unit="percentunit",
            base="red",
            limits=((0.95, "green"),),
            highest=1,
        ),
        Panel(
            title="Verdicts now",
            about=(
                "Verdicts that hold: of the newest drift window, of the contests, and of features. Unknown is "
                "not good news."
            ),
            queries=(
                ask("max by (trainer, verdict) (upm_drift_verdict{OF}) == 1", "{{trainer}} drift: {{verdict}}"),
                ask(
                    "max by (trainer, contest, verdict) (upm_evidence_verdict{OF}) == 1",
                    "{{trainer}} {{contest}}: {{verdict}}",
                ),
                ask(
                    "max by (trainer, verdict) (upm_feature_drift_verdict{OF}) == 1",
                    "{{trainer}} features: {{verdict}}",
                ),
            ),
            kind="state-timeline",
            base="blue",
        ),
        Panel(
            title="Age of the evidence",
            about="Time since a contest last counted a window, and the age at which evidence counts as none.",
            queries=(
                ask(
                    "time() - max by (trainer, contest) (upm_evidence_judged_timestamp_seconds{OF})",
                    "{{trainer}} {{contest}}",
                ),
                ask("max(upm_evidence_max_age_seconds{AT})", "counts as none"),
            ),
            unit="s",
            explain="UPM-A010",
            lowest=0,
        ),
        Panel(
            title="Features that drift",
            about=(
                "How many features are not as they were when the live version was learned. upm drift-report --by"
                " feature names them."
            ),
            queries=(ask("max by (trainer) (upm_features_drifting{OF})", "{{trainer}}"),),
            limits=((1, "orange"),),
            lowest=0,
        ),
    ),
)
