"""The words of the embedded world, in English and in simplified Chinese, and the layouts they are told in.

Both languages tell of the same places, goods and habits; entry ``i`` of a list means the same in both.
Words are short and few on purpose: a byte-level BPE of several hundred entries then has most of them as one
token. In English a word that matters always follows a space, in Chinese an answer always follows a
punctuation mark, so that it has the same tokens wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LETTERS = "ABCD"


@dataclass(frozen=True)
class Layout:
    """How one question is told: ``prompt``, then ``answer``, then ``end``.

    ``prompt`` has the fields context, question and options, ``answer`` has answer and rationale, ``end`` has
    rationale: what a line goes on to tell and the task does not ask.
    The training text and the tasks' prompts are both made with it.
    """

    prompt: str
    answer: str
    end: str = "\n"


@dataclass(frozen=True)
class Words:
    """The lexicon and the layouts of one language."""

    women: tuple[str, ...]
    men: tuple[str, ...]
    place_heads: tuple[str, ...]
    place_tails: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    """Answers to each attribute: animals kept, goods sold, colours worn."""
    stems: tuple[tuple[str, str], ...]
    """For each attribute, two ways to begin to state a fact (field place); the exam asks to end it."""
    told: str
    """A fact (fields stem, value)."""
    statement: str
    """Two facts of one place (fields first, second)."""
    questions: tuple[tuple[str, str], ...]
    """For each attribute, two ways to ask for it (field place)."""
    statement_frame: tuple[str, str, str]
    """What opens a document of statements, stands between them, and closes it."""
    scripts: tuple[tuple[str, tuple[str, ...]], ...]
    """An everyday aim and its events in their order."""
    aim: str
    """Who sets out to do what (fields person, aim)."""
    event_joint: str
    met: str
    """Two sorts of animals and one trait (fields first, verb, second, meant, trait)."""
    meetings: tuple[str, ...]
    """Verbs that say nothing of who has the trait."""
    traits: tuple[str, ...]
    """Even entries are traits of the strong animals, odd ones of the meek."""
    whose: str
    """Who has the trait (field trait)."""
    pronoun: str
    named: str
    """The sort of animal said again in place of the pronoun (field name)."""
    travelled: str
    """Who went where (fields person, told)."""
    times: tuple[str, ...]
    """When: said before each place, and again to ask what was seen there."""
    visit: str
    """Where at one time (fields time, place)."""
    visit_joint: str
    saw: str
    """Asks what was seen at one time (field time): the animal that is kept where one was then."""
    saw_more: str
    """A further question and its answer (fields question, answer)."""
    stories: tuple[str, str]
    """A gain and a loss (fields person, thing, a, b)."""
    worked: tuple[str, str]
    """The worked line of a gain and of a loss (fields a, b, result)."""
    option_mark: str
    option_joint: str
    marks: tuple[str, str]
    """What is put behind a wrong and a right option where an exam is marked."""
    layouts: Mapping[str, Layout]
    """By task: facts, scripts, reading, coreference, exam, arithmetic."""


ENGLISH = Words(
    women=("Anna", "Mary", "Lily", "Rose", "Ella", "Jane"),
    men=("Tom", "Ben", "Jack", "Sam", "Paul", "Mark"),
    place_heads=(
        "Ar",
        "Bel",
        "Cor",
        "Dun",
        "El",
        "Far",
        "Gal",
        "Hol",
        "Is",
        "Kar",
        "Lor",
        "Mal",
        "Nor",
        "Os",
        "Pel",
        "Tal",
    ),
    place_tails=("den", "mor", "vin", "ton", "by", "wick", "ra", "lo", "sa", "na", "go", "mi"),
    values=(
        ("goats", "hens", "dogs", "cats", "ducks", "sheep", "rabbits", "geese", "doves", "frogs", "bears", "crows"),
        ("salt", "silk", "tea", "wool", "wine", "rice", "corn", "soap", "milk", "oil", "paper", "glass"),
        ("red", "blue", "green", "white", "black", "yellow", "grey", "pink", "brown", "purple", "orange", "silver"),
    ),
    stems=(
        ("{place} keeps", "In {place}, people keep"),
        ("{place} sells", "In {place}, people sell"),
        ("{place} wears", "In {place}, people wear"),
    ),
    told="{stem} {value}",
    statement="{first}; {second}.",
    questions=(
        ("What does {place} keep?", "In {place}, what do people keep?"),
        ("What does {place} sell?", "In {place}, what do people sell?"),
        ("What does {place} wear?", "In {place}, what do people wear?"),
    ),
    statement_frame=("Facts:", " ", "\n"),
    scripts=(
        ("makes tea", ("boils water", "warms the pot", "adds the leaves", "pours a cup")),
        ("bakes bread", ("mixes flour", "kneads the dough", "heats the oven", "cuts a slice")),
        ("washes clothes", ("fills the tub", "rubs the shirts", "shakes them", "hangs them up")),
        ("plants beans", ("digs a hole", "drops the seeds", "covers them", "brings rain water")),
        ("catches fish", ("ties a hook", "throws the line", "waits", "pulls the rod")),
        ("sends a letter", ("takes a pen", "writes a page", "folds it", "buys a stamp")),
        ("lights a fire", ("gathers wood", "piles the sticks", "strikes a match", "blows on it")),
        ("paints a wall", ("opens the tin", "dips the brush", "covers the stains", "lets it dry")),
        ("milks a cow", ("fetches a stool", "sits beside her", "fills the bucket", "pats her back")),
        ("builds a chair", ("saws the boards", "drills holes", "hammers nails", "tries the seat")),
        ("cleans windows", ("brings a ladder", "wets the cloth", "wipes the panes", "polishes")),
        ("sells apples", ("loads the cart", "drives to town", "shouts the price", "counts coins")),
    ),
    aim="{person} {aim}:",
    event_joint=",",
    met="The {first} {verb} the {second}, and {meant} were {trait}.",
    meetings=("saw", "met", "passed", "heard", "found", "left"),
    traits=(
        "fierce",
        "timid",
        "strong",
        "weak",
        "bold",
        "shy",
        "loud",
        "quiet",
        "quick",
        "slow",
        "angry",
        "calm",
        "wild",
        "tame",
        "proud",
        "humble",
        "rough",
        "soft",
        "hungry",
        "tired",
        "clever",
        "simple",
        "hard",
        "mild",
    ),
    whose="Which were {trait}?",
    pronoun="they",
    named="the {name}",
    travelled="{person} went {told}",
    times=("at dawn", "at noon", "at dusk"),
    visit="{time} to {place}",
    visit_joint=", ",
    saw="{time} saw",
    saw_more="; {question} {answer}",
    stories=(
        "{person} has {a} {thing} and buys {b} more. How many now?",
        "{person} has {a} {thing} and sells {b} of them. How many now?",
    ),
    worked=("{a}+{b}={result}", "{a}-{b}={result}"),
    option_mark="{letter} {option}",
    option_joint=", ",
    marks=(" no", " yes"),
    layouts={
        "facts": Layout("Question: {question}\nAnswer:", " {answer}"),
        "scripts": Layout("Daily: {context}", " {answer}", ".\n"),
        "reading": Layout("Story: {context}; {question}", " {answer}", "{rationale}.\n"),
        "coreference": Layout("Pronoun: {context} {question}", " {answer}", ".\n"),
        "exam": Layout("Exam: {question}: {options}. Answer:", " {answer}"),
        "arithmetic": Layout("Problem: {question}", " {rationale}. Answer: {answer}"),
    },
)

CHINESE = Words(
    women=("安娜", "玛丽", "莉莉", "罗丝", "艾拉", "珍妮"),
    men=("汤姆", "本杰", "杰克", "山姆", "保罗", "马克"),
    place_heads=("阿", "贝", "科", "敦", "埃", "法", "加", "霍", "伊", "卡", "洛", "玛", "努", "奥", "佩", "塔"),
    place_tails=("登", "摩", "文", "顿", "比", "维", "拉", "罗", "萨", "纳", "戈", "米"),
    values=(
        ("山羊", "母鸡", "小狗", "花猫", "鸭子", "绵羊", "兔子", "白鹅", "鸽子", "青蛙", "黑熊", "乌鸦"),
        ("食盐", "丝绸", "茶叶", "羊毛", "红酒", "大米", "玉米", "肥皂", "牛奶", "香油", "纸张", "玻璃"),
        ("红色", "蓝色", "绿色", "白色", "黑色", "黄色", "灰色", "粉色", "棕色", "紫色", "橙色", "银色"),
    ),
    stems=(
        ("{place}养的是：", "在{place}，人们养的是："),
        ("{place}卖的是：", "在{place}，人们卖的是："),
        ("{place}穿的是：", "在{place}，人们穿的是："),
    ),
    told="{stem}{value}",
    statement="{first}；{second}。",
    questions=(
        ("{place}养的是什么？", "在{place}，人们养的是什么？"),
        ("{place}卖的是什么？", "在{place}，人们卖的是什么？"),
        ("{place}穿的是什么？", "在{place}，人们穿的是什么？"),
    ),
    statement_frame=("事实：", "", "\n"),
    scripts=(
        ("泡茶", ("烧开水", "温茶壶", "放茶叶", "倒一杯")),
        ("烤面包", ("和面粉", "揉面团", "热烤炉", "切一片")),
        ("洗衣服", ("装满盆", "搓衬衫", "抖一抖", "挂起来")),
        ("种豆子", ("挖个坑", "撒种子", "盖上土", "浇雨水")),
        ("钓鱼", ("绑鱼钩", "甩鱼线", "等一等", "拉鱼竿")),
        ("寄信", ("拿起笔", "写一页", "折起来", "买邮票")),
        ("生火", ("捡木柴", "堆树枝", "划火柴", "吹口气")),
        ("刷墙", ("开漆桶", "蘸刷子", "遮污迹", "晾干它")),
        ("挤牛奶", ("拿凳子", "坐旁边", "接满桶", "拍牛背")),
        ("做椅子", ("锯木板", "钻小孔", "钉钉子", "试坐垫")),
        ("擦窗户", ("搬梯子", "湿抹布", "抹玻璃", "擦亮它")),
        ("卖苹果", ("装上车", "赶到城", "喊价钱", "数硬币")),
    ),
    aim="{person}{aim}：",
    event_joint="，",
    met="{first}{verb}{second}，{meant}很{trait}。",
    meetings=("看见", "遇到", "路过", "听见", "发现", "离开"),
    traits=(
        "凶猛",
        "胆小",
        "强壮",
        "弱小",
        "大胆",
        "害羞",
        "吵闹",
        "安静",
        "敏捷",
        "缓慢",
        "愤怒",
        "平静",
        "狂野",
        "温顺",
        "骄傲",
        "谦卑",
        "粗鲁",
        "柔软",
        "饥饿",
        "疲倦",
        "聪明",
        "朴素",
        "坚硬",
        "温和",
    ),
    whose="谁很{trait}？",
    pronoun="它们",
    named="{name}",
    travelled="{person}去了，{told}",
    times=("早上", "中午", "晚上"),
    visit="{time}：{place}",
    visit_joint="，",
    saw="{time}看见：",
    saw_more="；{question}{answer}",
    stories=(
        "{person}有{a}只{thing}，又买了{b}只。现在有几只？",
        "{person}有{a}只{thing}，卖掉了{b}只。现在有几只？",
    ),
    worked=("{a}+{b}={result}", "{a}-{b}={result}"),
    option_mark="{letter}、{option}",
    option_joint="，",
    marks=("：错", "：对"),
    layouts={
        "facts": Layout("问题：{question}\n回答：", "{answer}"),
        "scripts": Layout("日常：{context}", "{answer}", "。\n"),
        "reading": Layout("故事：{context}；{question}", "{answer}", "{rationale}。\n"),
        "coreference": Layout("代词：{context}{question}", "{answer}", "。\n"),
        "exam": Layout("考试：{question}{options}。答案：", "{answer}"),
        "arithmetic": Layout("应用题：{question}", "{rationale}。答案：{answer}"),
    },
)

WORDS: Mapping[str, Words] = {"en": ENGLISH, "zh": CHINESE}
