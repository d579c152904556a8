"""Typed results: what an analysis returns, as JSON, frames and tables. Nothing here fits and nothing draws."""

from onset.results.analysis import (
    VERSION,
    Analysis,
    Claim,
    ConvertedThreshold,
    Difference,
    FactorSummary,
    FamilyOffset,
    LossChoice,
    LossMeasure,
    LossName,
)
from onset.results.base import Drawable, Interval, Record, Result, check_level
from onset.results.comparison import Comparison
from onset.results.design import Design
from onset.results.findings import (
    ChanceSource,
    Direction,
    EffectVerdict,
    FactorEffect,
    FamilyFinding,
    Finding,
    LogBayesFactor,
    LossInterval,
    LossShift,
    MetricComparison,
    Predictor,
    Robustness,
    SizeEffect,
    SpikeEffect,
    SpikeVerdict,
    TaskQuality,
    Threshold,
    Verdict,
    Width,
)
from onset.results.folder import FINDINGS, load, load_forecast, load_questions, save, save_into, save_questions
from onset.results.forecasts import Backtest, Forecast
from onset.results.questions import Questions
from onset.results.sealed import OpenedForecast, SealedForecast
from onset.results.stages import Foretelling, StageEffect, StageVerdict

__all__ = [
    "FINDINGS", "VERSION", "Analysis", "Backtest", "ChanceSource", "Claim", "Comparison", "ConvertedThreshold",
    "Design", "Difference", "Direction", "Drawable",
    "EffectVerdict", "FactorEffect", "FactorSummary", "FamilyFinding", "FamilyOffset", "Finding", "Forecast",
    "Foretelling", "Interval", "LogBayesFactor", "LossChoice", "LossInterval", "LossMeasure", "LossName", "LossShift",
    "MetricComparison", "OpenedForecast", "Predictor", "Questions", "Record", "Result", "Robustness",
    "SealedForecast", "SizeEffect", "SpikeEffect", "SpikeVerdict", "StageEffect", "StageVerdict", "TaskQuality",
    "Threshold", "Verdict", "Width",
    "check_level", "load", "load_forecast", "load_questions", "save", "save_into", "save_questions",
]  # fmt: skip
