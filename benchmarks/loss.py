"""Held-out loss beside lm-evaluation-harness's rolling log-likelihood: same model, same text, same machine, one run.

    ONSET_PEERS=PYTHON python benchmarks/loss.py --text FILE... [--documents N] [--threads 2] [--out FILE]

Both sides are whole processes: ``onset loss``, and ``lm_eval run`` with a loglikelihood_rolling task over the same
documents, with the batch size that a short trial found fastest. ``FILE`` is JSON lines with a ``text``. The model is a
random Llama made on the spot, whose tokenizer puts no token before a text by itself: with one that does, the harness
also counts that token given itself.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from onset.score import huggingface as hub
from onset.score.heldout import by_document
from onset.store.parts import read_part
from onset.store.text import documents
from scoring import BATCH_SIZES, common, harness, make_model, samples, shape_of, timed, told

CONTEXT = 512


def write_texts(files: Sequence[Path], count: int | None, folder: Path) -> list[str]:
    """The first documents of each file, as one file for both sides."""
    texts = [text for file in files for text in islice(documents(file), count)]
    rows = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    (folder / "texts.jsonl").write_text(rows, encoding="utf-8")
    (folder / "onset_rolling.yaml").write_text(
        "task: onset_rolling\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {folder / 'texts.jsonl'}\ntest_split: test\noutput_type: loglikelihood_rolling\n"
        'doc_to_text: ""\ndoc_to_target: "{{text}}"\nmetric_list:\n  - metric: bits_per_byte\n',
        encoding="utf-8",
    )
    return texts


def without_habit(model: Path) -> None:
    """Make the model's tokenizer put nothing before a text."""
    file = model / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "post_processor": None}))


def compare(options: argparse.Namespace, folder: Path) -> list[str]:
    """Make the model, run both sides, and tell."""
    texts = write_texts(options.text, options.documents, folder)
    model = folder / "llama"
    params = make_model(model, texts, 0, shape_of(options.shape), CONTEXT)
    without_habit(model)
    onset = str(Path(sys.executable).with_name("onset"))
    cost = timed([onset, "loss", str(model), "--text", str(folder / "texts.jsonl"), "--out", str(folder / "ours")],
                 options.threads)  # fmt: skip
    (part,) = (folder / "ours").glob("runs/*/loss/*.parquet")
    (row,) = read_part(part).to_dict("records")  # one text of one language: one row
    lines = [
        f"### {len(texts)} documents, {row['bytes'] / 1e6:.2f} MB, {row['tokens']:,} tokens",
        "",
        f"Random Llama, {params / 1e6:.1f} M parameters ({options.shape}), context {CONTEXT}, float32, "
        f"{options.threads} thread(s).",
        "",
        "| | wall, s | processor, s | tokens/s of processor |",
        "|---|---|---|---|",
        f"| onset loss | {cost.wall:.1f} | {cost.processor:.1f} | {row['tokens'] / cost.processor:,.0f} |",
    ]
    python = os.environ.get("ONSET_PEERS")
    if python is None:
        return [*lines, "", "lm-evaluation-harness is absent: set ONSET_PEERS to a Python that has it."]
    batch = options.batch
    if batch is None:
        trials = {
            size: harness(python, model, ["onset_rolling"], folder, size, options.threads, limit=4)[0].processor
            for size in BATCH_SIZES
        }
        batch = min(trials, key=trials.__getitem__)
    theirs, out = harness(python, model, ["onset_rolling"], folder, batch, options.threads)
    found = [-float(sample["filtered_resps"][0]) for sample in samples(out, "onset_rolling")]
    _, nats = by_document(hub.load(model), texts)
    gaps = torch.tensor(nats[:, 0]) - torch.tensor(found)
    return [
        *lines,
        f"| lm_eval run, batch size {batch} | {theirs.wall:.1f} | {theirs.processor:.1f} | "
        f"{row['tokens'] / theirs.processor:,.0f} |",
        f"| ratio | {theirs.wall / cost.wall:.1f} | {theirs.processor / cost.processor:.1f} | |",
        "",
        f"Bits per byte: {row['bits_per_byte']:.6f} and {sum(found) / math.log(2) / row['bytes']:.6f}; largest "
        f"difference of a document {float(gaps.abs().max()):.1e} of {max(found):.0f} nats.",
    ]


def main() -> None:
    """Parse the options, compare, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--documents", type=int, help="at most so many of each file")
    common(parser)
    options = parser.parse_args()
    told(compare, options)


if __name__ == "__main__":
    main()
