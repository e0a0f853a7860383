"""Demo data: messages that customers write to a bank, labelled with their intent.

All phrases are the project's own (see `bract.data.demo.phrases`).  Many messages mention a
second intent that is settled or denied, and neighbouring intents share their words, so
the label follows from who did what to whom rather than from single keywords.
"""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bract.data.demo import phrases


@dataclass(frozen=True)
class Example:
    """One message: its text, its intent (a key of `LABELS`) and the branch it went to."""

    text: str
    label: str
    branch: str


@dataclass(frozen=True)
class _Intent:
    description: str
    asks: tuple[str, ...]
    topics: tuple[str, ...]
    settled: tuple[str, ...]


_CONTINUED = re.compile(r"\n +")


def _parse(material: str) -> dict[str, _Intent]:
    joined = _CONTINUED.sub(" ", material)
    intents = {}
    for block in joined.split("\n["):
        head, *lines = block.strip().split("\n")
        if not head:
            continue
        label, description = head.lstrip("[").split("] ")
        kinds: dict[str, list[str]] = {"?": [], "=": [], "<": []}
        for line in lines:
            kinds[line[0]].append(line[2:])
        intents[label] = _Intent(description, tuple(kinds["?"]), tuple(kinds["="]), tuple(kinds["<"]))
    return intents


def _lines(material: str) -> tuple[str, ...]:
    return tuple(_CONTINUED.sub(" ", material).strip().split("\n"))


_INTENTS = _parse(phrases.INTENTS)
_FAMILIES = tuple(tuple(line.split()) for line in _lines(phrases.FAMILIES))
_NEIGHBOURS = {
    label: tuple(other for family in _FAMILIES if label in family for other in family if other != label)
    for label in _INTENTS
}
_SLOTS = {name: tuple(values.split("|")) for name, values in phrases.SLOTS.items()}
_OPENINGS = _lines(phrases.OPENINGS)
_CLOSINGS = _lines(phrases.CLOSINGS)
_STORIES = _lines(phrases.STORIES)
_ABOUT = _lines(phrases.ABOUT)
_CONTRAST = _lines(phrases.CONTRAST)

LABELS: dict[str, str] = {label: intent.description for label, intent in _INTENTS.items()}
"""Every intent with one sentence that describes it."""

# branch: (its share of the messages, the intents that it sees far more often than others)
_BRANCHES: dict[str, tuple[float, str]] = {
    "harbour": (
        1.5,
        "transfer_abroad fee_question card_stolen incoming_payment_missing cash_machine_paid_too_little",
    ),
    "old-town": (
        1.3,
        "cash_machine_paid_too_little card_kept_by_machine pin_forgotten cash_deposit_missing account_statement",
    ),
    "university": (
        1.4,
        "login_problem overdraft incoming_payment_missing card_not_arrived address_change",
    ),
    "station": (
        1.2,
        "card_lost card_stolen card_payment_declined card_kept_by_machine security_code_missing",
    ),
    "market-square": (
        1.0,
        "cash_deposit_missing payment_charged_twice refund_missing card_payment_declined payment_limit",
    ),
    "hillside": (
        0.8,
        "loan_repayment set_up_regular_payment address_change payment_limit account_close",
    ),
    "riverside": (
        0.9,
        "stop_regular_payment transfer_cancel transfer_not_arrived transfer_to_wrong_account phone_number_change",
    ),
    "airport": (
        0.7,
        "card_unblock unknown_payment transfer_abroad security_code_missing card_lost",
    ),
    "garden-suburb": (
        0.6,
        "scam_report pin_change card_activation set_up_regular_payment pin_forgotten",
    ),
    "online": (
        1.6,
        "login_problem card_activation scam_report refund_missing phone_number_change",
    ),
}
_FAVOUR = 6.0

# A sentence whose last clause opens with one of these words ends in a question mark.
_QUESTION = re.compile(
    r"(?:^|, )(?:and |but |so |then |now )?"
    r"(?:how|what|where|why|when|who|whom|which|can|could|is|are|was|does|do|did|will"
    r"|would|may|should|has my|have your|must it|any news)\b[^,.]*$"
)
_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


def _ended(sentence: str) -> str:
    return sentence + ("?" if _QUESTION.search(sentence) else ".")


# How often each kind of message is written.  The two with a second intent (mention,
# contrast) are what a bag of words cannot tell apart; the others keep the task natural.
_KINDS = {"plain": 0.29, "mention": 0.35, "about": 0.05, "contrast": 0.27, "story": 0.04}


class _Writer:
    """Writes messages from one stream of random numbers."""

    def __init__(self, seed: int) -> None:
        # Only `random()` is used: it is the one method whose sequence Python keeps the
        # same from version to version (shuffle, choice and sample may change).
        self._random = random.Random(seed).random  # noqa: S311 - made-up messages, no secret

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def index(self, count: int) -> int:
        return int(self._random() * count)

    def pick(self, options: Sequence[str]) -> str:
        return options[self.index(len(options))]

    def weighted(self, weights: dict[str, float]) -> str:
        # fsum, since the rounding of sum() is not the same in every version of Python.
        point = self._random() * math.fsum(weights.values())
        for name, weight in weights.items():
            point -= weight
            if point < 0:
                return name
        return next(reversed(weights))  # where rounding left nothing below the last edge

    def shuffle(self, examples: list[Example]) -> None:
        for last in range(len(examples) - 1, 0, -1):
            other = self.index(last + 1)
            examples[last], examples[other] = examples[other], examples[last]

    def fill(self, phrase: str) -> str:
        while "(" in phrase:
            phrase = _CHOICE.sub(lambda match: self.pick(match[1].split("|")), phrase)
        return _SLOT.sub(lambda match: self.pick(_SLOTS[match[1]]), phrase)

    def other(self, label: str) -> _Intent:
        near = _NEIGHBOURS[label]
        far = tuple(name for name in _INTENTS if name != label)
        return _INTENTS[self.pick(near if self.chance(0.5) else far)]

    def about(self, label: str) -> str:
        topic = self.fill(self.pick(_INTENTS[label].topics))
        return self.pick(_ABOUT).replace("{t}", topic)

    def contrast(self, label: str) -> str:
        topic = self.fill(self.pick(_INTENTS[label].topics))
        not_meant = self.fill(self.pick(self.other(label).topics))
        return self.pick(_CONTRAST).replace("{t}", topic).replace("{n}", not_meant)

    def mention(self, label: str, question: str) -> list[str]:
        settled = self.fill(self.pick(self.other(label).settled))
        if self.chance(0.35):
            return [_ended(question), settled + "."]
        if self.chance(0.4):
            link = self.pick(("but", "now", "and"))
            return [_ended(f"{settled}, {link} {question}")]
        return [settled + ".", _ended(question)]

    def message(self, label: str) -> str:
        kind = self.weighted(_KINDS)
        if kind == "contrast":
            return self.style([self.contrast(label) + "."])
        if kind == "about":
            return self.style(self.mention(label, self.about(label)))
        question = self.fill(self.pick(_INTENTS[label].asks))
        if kind == "mention":
            return self.style(self.mention(label, question))
        sentences = [_ended(question)]
        if kind == "story":
            sentences.insert(self.index(2), self.fill(self.pick(_STORIES)) + ".")
        return self.style(sentences)

    def style(self, sentences: list[str]) -> str:
        parts = [part[0].upper() + part[1:] for part in sentences]
        if self.chance(0.14):
            parts.insert(0, self.pick(_OPENINGS) + self.pick((",", ".", "!", ":")))
        if self.chance(0.1):
            parts.append(self.pick(_CLOSINGS) + self.pick((".", "!", "")))
        text = " ".join(parts)
        if self.chance(0.3):
            text = text.lower()
            if self.chance(0.4):
                text = re.sub(r"[.,](?!\d)", "", text)
                text = text.replace("cannot", "cant").replace(" do not", " dont")
        if self.chance(0.12):
            text = self.typo(text)
        return text

    def typo(self, text: str) -> str:
        words = text.split(" ")
        long = [place for place, word in enumerate(words) if len(word) > 5 and word.isalpha()]
        if long:
            place = long[self.index(len(long))]
            word = words[place]
            at = 1 + self.index(len(word) - 3)
            if self.chance(0.5):
                words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            else:
                words[place] = word[:at] + word[at + 1 :]
        return " ".join(words)

    def branch(self, label: str) -> str:
        return self.weighted(
            {
                name: share * (_FAVOUR if label in favoured.split() else 1.0)
                for name, (share, favoured) in _BRANCHES.items()
            }
        )


def make(seed: int = 0, size: int = 4800) -> list[Example]:
    """`size` messages with distinct texts, in mixed order, the intents equally frequent.

    The same seed and size give the same list everywhere.
    """
    writer = _Writer(seed)
    labels = tuple(LABELS)
    seen: set[str] = set()
    examples: list[Example] = []
    while len(examples) < size:
        label = labels[len(examples) % len(labels)]
        text = writer.message(label)
        if text not in seen:
            seen.add(text)
            examples.append(Example(text, label, writer.branch(label)))
    writer.shuffle(examples)
    return examples
