"""Evaluating anyone's models, in one call: what ``onset eval`` and ``onset loss`` do."""

from __future__ import annotations

from rich.console import Console

from onset.errors import OnsetError
from onset.store.lock import lock_study
from onset.store.parts import sweep
from onset.work.engines import Engine, InlineEngine, LocalEngine, Options
from onset.work.jobs.foreign import ModelsLedger, release_model, run_piece
from onset.work.names import describe
from onset.work.progress import Display
from onset.work.resources import cores
from onset.work.signals import stop_signals


def evaluate_models(ledger: ModelsLedger, workers: int, console: Console) -> tuple[int, list[str]]:
    """Do all that is pending; returns the sets of weights that are done and what went wrong.

    One worker is this process; several share the chunks of every model. Raises ``Stopped`` where a signal ended it.
    """
    ledger.divide_always = workers > 1
    folder = ledger.subjects[0].rundir.path.parent.parent
    with lock_study(folder):
        sweep(folder)
        ledger.check_dtypes()
        _ = ledger.task_digests, ledger.record  # what is unknown or unreadable is told before a model is loaded
        for subject in ledger.subjects:
            describe(subject)  # tokens may be told only now
        ledger.join_chunks()
        before = ledger.pending(fresh=True)
        problems: dict[str, OnsetError] = {}
        if before.pieces:
            gpus = None if ledger.loading.device.startswith("cuda") else 0
            several = LocalEngine(workers, max(1, cores() // workers), gpus=gpus)
            engine: Engine = several if workers > 1 else InlineEngine()
            with Display(console, before.done, len(before.pieces)) as display, stop_signals() as stop:
                problems = engine.run(ledger, run_piece, display, Options(should_stop=stop))
            stop.check(folder)
        release_model()
        return ledger.pending(fresh=True).done, list(dict.fromkeys(str(error) for error in problems.values()))
