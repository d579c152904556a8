"""The paper's Chinese tasks, and the same questions in other formats. To add a task: one row function, one Task.

Each task says in ``source_note`` where the form of its prompt comes from. Chinese continuations begin without a space.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from onset.errors import OnsetError
from onset.tasks import answers
from onset.tasks.formats import ChainOfThought, Cloze, Filled, Letters, Open
from onset.tasks.sources import HubRows, LocalRows, NowhereRows, choice_item, open_item, same_subject, whole
from onset.tasks.task import Item, Row, Source, Task

MASK = "<mask>"
BLANK = "_"


def chinese(data: Path | None = None) -> list[Task]:
    """The Chinese tasks, from local files in ``data`` or from the hub. Reads nothing."""
    return [
        *_nlpcc_kbqa(data),
        *_clozet(data),
        *_c3(data),
        *_cluewsc(data),
        *_ceval(data),
        *_gsm8k_zh(data),
    ]


def _source(data: Path | None, name: str, fields: tuple[str, ...], where: str) -> Source:
    return NowhereRows(name, where) if data is None else LocalRows(data, name, ("id", *fields))


# NLPCC-KBQA: closed-book questions ---------------------------------------------------------------------------------


def _nlpcc_kbqa(data: Path | None) -> list[Task]:
    where = "github.com/nanduan/NLPCC-KBQA (NLPCC 2016 and 2017 shared task)"
    return [
        Task(
            name="nlpcc_kbqa",
            language="zh",
            ability="closed-book question answering",
            source=_source(data, "nlpcc_kbqa", ("question", "answers"), where),
            item=open_item,
            format=Open(max_tokens=32),
            shots=5,
            metric="exact_match",
            judge=answers.exact_chinese,
            chance=0.0,
            licence="none stated",
            source_note="The question-answer form of GPT-3 (Brown et al. 2020) in Chinese words; exact match without "
            "spaces, punctuation and full-width forms",
        )
    ]


# ClozeT: the sentence that is missing ------------------------------------------------------------------------------


def _clozet(data: Path | None) -> list[Task]:
    where = "the LOT benchmark (Guan et al. 2022), github.com/thu-coai/LOT-LongLM; its ClozeT split"
    base = Task(
        name="clozet",
        language="zh",
        ability="commonsense inference",
        source=_source(data, "clozet", ("context", "choices", "answer"), where),
        item=choice_item,
        format=Filled(blank=MASK, part="both"),
        chance=0.5,
        licence="see the data set",
        source_note="Story up to the gap, then each candidate and the rest of the story scored together: the "
        "likelihood of the completed story",
    )
    proxy = replace(
        base,
        name="clozet_proxy",
        source=_source(data, "clozet_proxy", ("context", "choices", "answer"), "github.com/ymcui/cmrc2019"),
        licence="CC BY-SA 4.0",
        source_note="A stand-in for ClozeT made of CMRC 2019 (clauses, two choices), same form; "
        "not comparable with published numbers of ClozeT",
        extra={"stand_in_for": "clozet"},
    )
    partial = replace(
        proxy,
        name="clozet_proxy_partial",
        format=Filled(blank=MASK),
        source_note="The stand-in clozet_proxy by partial evaluation: only what follows the gap is scored",
    )
    return [base, proxy, partial]


# C3: reading comprehension -----------------------------------------------------------------------------------------


def _c3(data: Path | None) -> list[Task]:
    base = Task(
        name="c3",
        language="zh",
        ability="reading comprehension",
        source=_source(data, "c3", ("context", "question", "choices", "answer"), "github.com/nlpdata/c3"),
        item=choice_item,
        format=Cloze(uncond=True),
        shots=4,
        chance=0.273,
        licence="non-commercial research",
        source_note="Passage, question, answer in Chinese words, each choice scored as the answer, as PanGu-alpha "
        "(Zeng et al. 2021) scores C3 by likelihood; two to four choices",
    )
    letters = replace(
        base,
        name="c3_letters",
        format=Letters(),
        source_note="The questions of c3 with their choices listed and letters scored",
    )
    return [base, letters]


# CLUEWSC: coreference ----------------------------------------------------------------------------------------------


def _cluewsc(data: Path | None) -> list[Task]:
    fields = ("context", "choices", "answer", "span1", "span2", "span2_index")
    where = "github.com/CLUEbenchmark/FewCLUE, data set cluewsc"
    base = Task(
        name="cluewsc",
        language="zh",
        ability="coreference",
        source=_source(data, "cluewsc", fields, where),
        item=_pronoun_item,
        format=Filled(blank=BLANK),
        chance=0.5,
        licence="none stated",
        source_note="Partial evaluation (Trinh and Le 2018) of a yes-no question: what follows the pronoun is scored "
        "with the candidate in its place (yes) and with the pronoun itself (no). The two are not balanced: a model "
        "may lean to one side, so look at correct_choice_prob too",
    )
    asked = replace(
        base,
        name="cluewsc_cloze",
        item=choice_item,
        format=Cloze(),
        source_note="The questions of cluewsc asked in words, 是 and 不是 scored as answers (FewCLUE, Xu et al. 2021)",
    )
    return [base, asked]


def _pronoun_item(row: Row) -> Item:
    """The text with a blank at the pronoun; choices: the pronoun itself (no), the candidate (yes).

    ``span2_index`` tells which occurrence of the pronoun is meant: some pairs of rows differ in nothing else.
    """
    text, pronoun = str(row["context"]), str(row["span2"])
    at = whole(row["span2_index"])
    if at is None or text[at : at + len(pronoun)] != pronoun:
        raise OnsetError(
            f"the pronoun '{pronoun}' does not stand at span2_index {at}",
            where=f"row '{row['id']}' of cluewsc",
            advice="count span2_index in characters from 0",
        )
    plain = text.replace(BLANK, " ")  # same length: the index stays right
    return Item(
        id=str(row["id"]),
        question=plain[:at] + BLANK + plain[at + len(pronoun) :],
        choices=(pronoun, str(row["span1"])),
        gold=whole(row["answer"]),
    )


# C-Eval: examination -----------------------------------------------------------------------------------------------


def _ceval(data: Path | None) -> list[Task]:
    hub = HubRows(
        "ceval/ceval-exam", "617524a00b307ff6f9933702f724131fe12ca7ce", _ceval_row,
        configs=tuple(SUBJECTS), split="val", shots_split="dev", pool=5,
    )  # fmt: skip
    source = hub if data is None else LocalRows(data, "ceval", ("id", "question", "choices", "answer", "subject"))
    header = "以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。\n\n"
    base = Task(
        name="ceval",
        language="zh",
        ability="examination",
        source=source,
        item=_exam_item,
        format=Letters(cue=False, header=header),
        shots=5,
        pick=same_subject,
        chance=0.25,
        licence="CC BY-NC-SA 4.0",
        source_note="The answer-only prompt of Huang et al. 2023: five examples of the subject's dev set, "
        "letters scored",
    )
    cloze = replace(
        base,
        name="ceval_cloze",
        format=Cloze(uncond=True),
        source_note="The questions of ceval, the text of each choice scored as the answer (no letters, no list)",
    )
    return [base, cloze]


def _ceval_row(row: Row, config: str) -> dict[str, Any]:
    return {
        "question": row["question"],
        "choices": [row[letter] for letter in "ABCD"],
        "answer": "ABCD".find(row["answer"]),
        "subject": config,
    }


def _exam_item(row: Row) -> Item:
    item = choice_item(row)
    return replace(item, subject=SUBJECTS.get(item.subject, item.subject))


SUBJECTS = {
    "accountant": "注册会计师",
    "advanced_mathematics": "高等数学",
    "art_studies": "艺术学",
    "basic_medicine": "基础医学",
    "business_administration": "工商管理",
    "chinese_language_and_literature": "中国语言文学",
    "civil_servant": "公务员",
    "clinical_medicine": "临床医学",
    "college_chemistry": "大学化学",
    "college_economics": "大学经济学",
    "college_physics": "大学物理",
    "college_programming": "大学编程",
    "computer_architecture": "计算机组成",
    "computer_network": "计算机网络",
    "discrete_mathematics": "离散数学",
    "education_science": "教育学",
    "electrical_engineer": "注册电气工程师",
    "environmental_impact_assessment_engineer": "环境影响评价工程师",
    "fire_engineer": "注册消防工程师",
    "high_school_biology": "高中生物",
    "high_school_chemistry": "高中化学",
    "high_school_chinese": "高中语文",
    "high_school_geography": "高中地理",
    "high_school_history": "高中历史",
    "high_school_mathematics": "高中数学",
    "high_school_physics": "高中物理",
    "high_school_politics": "高中政治",
    "ideological_and_moral_cultivation": "思想道德修养与法律基础",
    "law": "法学",
    "legal_professional": "法律职业资格",
    "logic": "逻辑学",
    "mao_zedong_thought": "毛泽东思想和中国特色社会主义理论体系概论",
    "marxism": "马克思主义基本原理",
    "metrology_engineer": "注册计量师",
    "middle_school_biology": "初中生物",
    "middle_school_chemistry": "初中化学",
    "middle_school_geography": "初中地理",
    "middle_school_history": "初中历史",
    "middle_school_mathematics": "初中数学",
    "middle_school_physics": "初中物理",
    "middle_school_politics": "初中政治",
    "modern_chinese_history": "近代史纲要",
    "operating_system": "操作系统",
    "physician": "医师资格",
    "plant_protection": "植物保护",
    "probability_and_statistics": "概率统计",
    "professional_tour_guide": "导游资格",
    "sports_science": "体育学",
    "tax_accountant": "税务师",
    "teacher_qualification": "教师资格",
    "urban_and_rural_planner": "注册城乡规划师",
    "veterinary_medicine": "兽医学",
}
"""Subjects of C-Eval and their names in its prompts."""


# GSM8K-Chinese: word problems --------------------------------------------------------------------------------------


def _gsm8k_zh(data: Path | None) -> list[Task]:
    where = "github.com/google-research/url-nlp, MGSM zh (250 questions and 8 worked examples)"
    base = Task(
        name="gsm8k_zh",
        language="zh",
        ability="mathematical word problems",
        source=_source(data, "gsm8k_zh", ("question", "answers"), where),
        item=_worked_item,
        format=ChainOfThought(max_tokens=320),
        shots=8,
        metric="exact_match",
        judge=answers.same_number,
        chance=0.0,
        licence="CC BY 4.0",
        source_note="MGSM (Shi et al. 2022): the test questions of GSM8K translated by people, its eight worked "
        "examples, ending in 答案是 N; the number is read by answers.final_number",
    )
    machine: Source = NowhereRows("gsm8k_zh_mt", "github.com/NJUNLP/QAlign")
    if data is not None:
        machine = LocalRows(data, "gsm8k_zh_mt", ("id", "question", "answers"), shots_from="gsm8k_zh")
    translated = replace(
        base,
        name="gsm8k_zh_mt",
        source=machine,
        licence="none stated",
        source_note="Training questions of GSM8K translated by machine, asked as gsm8k_zh with the same examples",
    )
    direct = replace(
        base,
        name="gsm8k_zh_direct",
        format=Open(max_tokens=16),
        judge=answers.first_number,
        source_note="The questions of gsm8k_zh with the bare number as answer, no working",
    )
    return [base, translated, direct]


def _worked_item(row: Row) -> Item:
    """A worked example without its closing sentence, which the format adds."""
    item = open_item(row)
    return replace(item, rationale=re.sub(r"答案是[^。]*。?$", "", item.rationale).strip())
