"""The paper's English tasks, and the same questions in other formats. To add a task: one row function, one Task.

Each task says in ``source_note`` where the form of its prompt comes from. The paper gives no numbers of shots; those
here are the field's usual ones, cut where passages are long, and are settings (``Task.with_use``).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from onset.tasks import answers
from onset.tasks.formats import ChainOfThought, Cloze, Filled, Letters, Open
from onset.tasks.sources import HubRows, LocalRows, choice_item, open_item, same_subject, whole
from onset.tasks.task import Row, Source, Task


def english(data: Path | None = None) -> list[Task]:
    """The English tasks, from local files in ``data`` or from the hub. Reads nothing."""
    return [
        *_triviaqa(data),
        *_hellaswag(data),
        *_race(data),
        *_winogrande(data),
        *_mmlu(data),
        *_gsm8k(data),
    ]


def _source(data: Path | None, name: str, fields: tuple[str, ...], hub: HubRows) -> Source:
    return hub if data is None else LocalRows(data, name, ("id", *fields))


# TriviaQA: closed-book questions -----------------------------------------------------------------------------------


def _triviaqa(data: Path | None) -> list[Task]:
    hub = HubRows(
        "mandarjoshi/trivia_qa", "0f7faf33a3908546c6fd5b73a660e0f8ff173c2f", _triviaqa_row,
        configs=("rc.nocontext",), split="validation",
    )  # fmt: skip
    return [
        Task(
            name="triviaqa",
            language="en",
            ability="closed-book question answering",
            source=_source(data, "triviaqa", ("question", "answers"), hub),
            item=open_item,
            format=Open(max_tokens=24),
            shots=5,
            metric="exact_match",
            judge=answers.exact_english,
            chance=0.0,
            licence="Apache-2.0",
            source_note="Question/Answer as in GPT-3 (Brown et al. 2020) and lm-evaluation-harness; exact match with "
            "aliases after the normalisation of Joshi et al. 2017",
        )
    ]


def _triviaqa_row(row: Row, config: str) -> dict[str, Any]:
    given = row["answer"]
    return {"question": row["question"], "answers": list(dict.fromkeys([given["value"], *given["aliases"]]))}


# HellaSwag: how a situation goes on --------------------------------------------------------------------------------


def _hellaswag(data: Path | None) -> list[Task]:
    hub = HubRows(
        "Rowan/hellaswag", "218ec52e09a7e7462a5400043bb9a69a41d06b76", _hellaswag_row, split="validation", pool=20
    )
    base = Task(
        name="hellaswag",
        language="en",
        ability="commonsense inference",
        source=_source(data, "hellaswag", ("context", "choices", "answer"), hub),
        item=choice_item,
        format=Cloze(plain=True),
        chance=0.25,
        licence="MIT",
        source_note="Activity label, colon, context, then each ending, cleaned of tags, as in GPT-3 (Brown et al. "
        "2020) and lm-evaluation-harness",
    )
    return [base]


def _hellaswag_row(row: Row, config: str) -> dict[str, Any]:
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return {
        "context": _untagged(context),
        "choices": [_untagged(end) for end in row["endings"]],
        "answer": row["label"],
    }


def _untagged(text: str) -> str:
    """WikiHow text without its marks: a title ends a sentence, other tags go."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return re.sub(r" {2,}", " ", text).strip()


# RACE: reading comprehension ---------------------------------------------------------------------------------------


def _race(data: Path | None) -> list[Task]:
    hub = HubRows("ehovy/race", "2fec9fd81f1dc971569a9b729c43f2f0e6436637", _race_row, configs=("all",))
    base = Task(
        name="race",
        language="en",
        ability="reading comprehension",
        source=_source(data, "race", ("context", "question", "choices", "answer"), hub),
        item=choice_item,
        format=Cloze(uncond=True),
        shots=2,
        chance=0.25,
        licence="non-commercial research",
        source_note="Article, question, answer as in GPT-3 (Brown et al. 2020), choices scored as continuations, one "
        "question an article; two shots, because passages are long (2048 tokens hold about four)",
    )
    letters = replace(
        base,
        name="race_letters",
        format=Letters(),
        source_note="The questions of race with their choices listed and letters scored, as MMLU is asked",
    )
    return [base, letters]


def _race_row(row: Row, config: str) -> dict[str, Any]:
    return {
        "context": row["article"],
        "question": row["question"],
        "choices": row["options"],
        "answer": "ABCD".find(row["answer"]),
        "subject": "high" if row["example_id"].startswith("high") else "middle",
    }


# WinoGrande: coreference -------------------------------------------------------------------------------------------


def _winogrande(data: Path | None) -> list[Task]:
    hub = HubRows(
        "allenai/winogrande", "01e74176c63542e6b0bcb004dcdea22d94fb67b5", _winogrande_row,
        configs=("winogrande_xl",), split="validation",
    )  # fmt: skip
    base = Task(
        name="winogrande",
        language="en",
        ability="coreference",
        source=_source(data, "winogrande", ("question", "choices", "answer"), hub),
        item=choice_item,
        format=Filled(),
        chance=0.5,
        licence="CC-BY",
        source_note="Partial evaluation (Trinh and Le 2018) as in GPT-3 (Brown et al. 2020) and "
        "lm-evaluation-harness: what follows the blank is scored given each option in it",
    )
    full = replace(
        base,
        name="winogrande_full",
        format=Filled(part="both"),
        source_note="The sentences of winogrande, option and what follows scored together (full evaluation)",
    )
    return [base, full]


def _winogrande_row(row: Row, config: str) -> dict[str, Any]:
    given = whole(row["answer"])
    return {
        "question": row["sentence"],
        "choices": [row["option1"], row["option2"]],
        "answer": None if given is None else given - 1,
    }


# MMLU: examination -------------------------------------------------------------------------------------------------


def _mmlu(data: Path | None) -> list[Task]:
    hub = HubRows(
        "cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe", _mmlu_row,
        configs=("all",), shots_split="dev", pool=285,
    )  # fmt: skip
    header = "The following are multiple choice questions (with answers) about {subject}.\n\n"
    base = Task(
        name="mmlu",
        language="en",
        ability="examination",
        source=_source(data, "mmlu", ("question", "choices", "answer", "subject"), hub),
        item=choice_item,
        format=Letters(cue=False, header=header),
        shots=5,
        pick=same_subject,
        chance=0.25,
        licence="MIT",
        source_note="The prompt of Hendrycks et al. 2021: five examples of the subject's dev set, letters scored",
    )
    cloze = replace(
        base,
        name="mmlu_cloze",
        format=Cloze(uncond=True),
        source_note="The questions of mmlu, the text of each choice scored as the answer (no letters, no list)",
    )
    return [base, cloze]


def _mmlu_row(row: Row, config: str) -> dict[str, Any]:
    return {name: row[name] for name in ("question", "choices", "answer", "subject")}


# GSM8K: word problems ----------------------------------------------------------------------------------------------


def _gsm8k(data: Path | None) -> list[Task]:
    hub = HubRows("openai/gsm8k", "cc7b047b6e5bb11b4f1af84efc572db110a51b3c", _gsm8k_row, configs=("main",))
    base = Task(
        name="gsm8k",
        language="en",
        ability="mathematical word problems",
        source=_source(data, "gsm8k", ("question", "answers"), hub),
        item=open_item,
        format=ChainOfThought(max_tokens=320),
        shots=8,
        metric="exact_match",
        judge=answers.same_number,
        chance=0.0,
        licence="MIT",
        source_note="Eight worked examples that end in 'The answer is N.' (Wei et al. 2022), here the first eight of "
        "the training set; the number is read by answers.final_number",
    )
    direct = replace(
        base,
        name="gsm8k_direct",
        format=Open(max_tokens=16),
        judge=answers.first_number,
        source_note="The questions of gsm8k with the bare number as answer, no working",
    )
    return [base, direct]


def _gsm8k_row(row: Row, config: str) -> dict[str, Any]:
    working, _, result = row["answer"].partition("####")
    return {
        "question": row["question"],
        "rationale": re.sub(r"<<.*?>>", "", working).strip(),
        "answers": [result.strip().replace(",", "")],
    }
