"""Arguments and options that several commands share, in the words that ``onset --help`` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="Folder that the results go to.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")]
Metrics = Annotated[
    str | None,
    typer.Option("--metrics", help="Metrics beside the usual ones: accuracy_per_byte, my_metrics.py:NAME, ..."),
]
Sizes = Annotated[str | None, typer.Option("--sizes", help="Sizes of a series, joined by commas: 70m,160m.")]
IncludePath = Annotated[
    Path | None, typer.Option("--include-path", help="Folder of YAML files that define harness:NAME tasks.")
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A TOML file or a preset's name (demo, nano31, ...).")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of local task files, <task>.eval.jsonl.gz.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one a core, as the runs need.")]
Engine = Annotated[str, typer.Option(help="Who does the work: local processes, or ray.")]
Logs = Annotated[
    list[str] | None, typer.Option("--log", help="Show trainings in tensorboard, wandb or wandb-offline too.")
]
Serve = Annotated[
    bool, typer.Option("--serve", help="Show the page meanwhile on 127.0.0.1: progress, losses, findings so far.")
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the page; by default 8717 or a free one.")]
Level = Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the intervals.")]
Loss = Annotated[str | None, typer.Option("--loss", help="The loss measure, NAME[:UNIT]; analyze: auto for the best.")]
Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...", help="Checkpoint, run, study, folder, FILE.gguf, hub id[@revision or step*], series:NAME."
    ),
]
Tokens = Annotated[
    Path | None,
    typer.Option("--tokens", help="CSV with columns model,tokens[,run,step]: training tokens of foreign models."),
]
PerStep = Annotated[
    int | None,
    typer.Option("--tokens-per-step", min=1, help="Training tokens of each step of models named ...step1000."),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32, bfloat16, float16 or auto; by default bfloat16 on CUDA, float32 elsewhere."),
]
Device = Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu, cuda, cuda:1, mps.")]
Bin = Annotated[bool, typer.Option("--allow-bin", help="Read .bin weights where there are no safetensors.")]
Remote = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")]
