"""A federation in one process: Flower's messages and Bract's apps, without Ray or sockets.

Messages are written to bytes and read again, as between machines, and ClientApp and strategy
are the real ones. Only the transport is missing, so a round takes milliseconds.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from bract.adapter.layout import Part
from bract.privacy.accounting import epsilon
from bract.settings.schema import Settings, TrainSettings
from bract.settings.steps import steps_in_round
from bract.tasks.classification import CLASSIFICATION
from bract.tasks.task import Examples, Outputs, Table
from client_app.app import app as client_app
from client_app.privacy.ledger import Ledger
from client_app.training.loop import Phase, Trained, train
from tests.flower.messages import identify, read_back, stamp, written

RUN_ID = 1

TEXTS = {
    "lost": ["my card is lost", "i lost the card", "card gone", "where is my lost card"],
    "late": ["the transfer is late", "my money is late", "late again", "it has not come yet"],
    "rate": ["what is the rate", "the rate today", "tell me the rate", "which rate is it"],
    "help": ["i need help", "please help me", "can you help", "help with my account"],
}


class InProcessGrid(Grid):
    """Calls the ClientApp as soon as a message is pushed.

    `tamper` may change a reply before the server sees it (None: it is lost); `order` may change the
    order in which replies are given out; `log` keeps all messages as (type, partition, request
    bytes, reply bytes).
    """

    def __init__(
        self,
        clients: int,
        run_config: dict[str, Any],
        *,
        tamper: Callable[[int, Message], Message | None] | None = None,
        order: Callable[[list[Message]], list[Message]] | None = None,
        first_node: int = 1000,
        ranks: Mapping[int, float] | None = None,
        node_config: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        identify(RUN_ID)
        self.nodes = {first_node + 7 * i: i for i in range(clients)}
        self.run_config = run_config
        self.tamper = tamper or (lambda partition, reply: reply)
        self.order = order or (lambda replies: replies)
        self.ranks = ranks or {}  # what nodes' own configurations say
        self.own = node_config or {}
        self.log: list[tuple[str, int, bytes, bytes]] = []
        self.app = client_app
        self._replies: list[Message] = []

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        return None

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def get_nodes(self) -> Iterable[Any]:
        return []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            ids.append(stamp(message, message_id=str(uuid4())).metadata.message_id)
            self._deliver(message)
        return ids

    def _deliver(self, message: Message) -> None:
        partition = self.nodes[message.metadata.dst_node_id]
        request = written(message.content)
        arrived = Message(
            content=read_back(request),
            dst_node_id=message.metadata.dst_node_id,
            message_type=message.metadata.message_type,
        )
        stamp(arrived, message_id=message.metadata.message_id)
        node_config: dict[str, Any] = {"partition-id": partition, "num-partitions": len(self.nodes)}
        if partition in self.ranks:
            node_config["rank"] = self.ranks[partition]
        node_config |= self.own.get(partition, {})
        context = Context(RUN_ID, message.metadata.dst_node_id, node_config, RecordDict(), self.run_config)
        answer = b""
        try:
            reply = self.app(arrived, context)
            answer = written(reply.content)
            reply = Message(read_back(answer), reply_to=arrived)
        except Exception as error:  # as Flower does: whatever an app raises becomes an error reply
            text = f"<class 'ClientAppException'>:<'{type(error).__name__}: {error}'>"
            reply = Message(Error(code=2, reason=text), reply_to=arrived)
        stamp(reply, src_node_id=message.metadata.dst_node_id)
        self.log.append((message.metadata.message_type, partition, request, answer))
        changed = self.tamper(partition, reply)
        if changed is not None:
            self._replies.append(changed)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = set(message_ids)
        found = [m for m in self._replies if m.metadata.reply_to_message_id in wanted]
        self._replies = [m for m in self._replies if m not in found]
        return self.order(found)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        end = time.monotonic() + (timeout or 60)
        waiting = set(self.push_messages(messages))
        replies: list[Message] = []
        while waiting and time.monotonic() < end:
            found = list(self.pull_messages(waiting))
            waiting -= {m.metadata.reply_to_message_id for m in found}
            replies += found
        return replies


def tiny_model(folder: Path, kind: str = "bert", more: Iterable[str] = ()) -> Path:
    """A two-layer model with random weights and a tokenizer for the words of `TEXTS` and some more."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
        GPT2Config,
        GPT2ForSequenceClassification,
        LlamaConfig,
        LlamaForSequenceClassification,
        PreTrainedTokenizerFast,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    words = sorted({word for texts in TEXTS.values() for text in texts for word in text.split()} | set(more))
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    size: dict[str, Any] = {"vocab_size": len(vocabulary), "max_position_embeddings": 64, "pad_token_id": 0}
    # Wide first weights: with BERT's own, a random model gives nearly the same output for every text.
    size["initializer_range"] = 0.3
    bert = {
        **size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    if kind == "bert":
        model: Any = BertForSequenceClassification(BertConfig(**bert))
    elif kind == "roberta":
        model = RobertaForSequenceClassification(RobertaConfig(**bert))
    elif kind == "distilbert":
        model = DistilBertForSequenceClassification(
            DistilBertConfig(**size, dim=32, n_layers=2, n_heads=2, hidden_dim=48)
        )
    elif kind == "gpt2":  # its layers are Conv1D, which keep their weights the other way round
        gpt2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 48, "n_positions": 64}
        size.pop("max_position_embeddings")
        model = GPT2ForSequenceClassification(GPT2Config(**size, **gpt2))
    else:
        model = LlamaForSequenceClassification(LlamaConfig(**bert, num_key_value_heads=1))
    model.save_pretrained(folder)
    return folder


def tiny_data(path: Path, copies: int = 6) -> Path:
    """A CSV with a few texts of four labels, a natural column, and users who each have some texts here and there."""
    lines = ["text,label,site,user"]
    for copy in range(copies):
        for label, texts in TEXTS.items():
            for text in texts:
                more, user = ["", "please", "now"][copy % 3], len(lines) * 5 % 37
                lines.append(f"{text} {more},{label},site{copy % 3},u{user}")
    path.write_text("\n".join(lines) + "\n")
    return path


def examples_of(texts: Sequence[str], labels: Sequence[str], place: Path | str, length: int = 16) -> Examples:
    """Texts with labels of `TEXTS`, tokenised."""
    table = Table({"text": tuple(texts), "label": tuple(labels)})
    outputs = Outputs(len(TEXTS), tuple(TEXTS))
    return CLASSIFICATION.examples(table, np.arange(len(texts)), outputs, str(place), length)


def fit(net: Any, shard: Examples, settings: TrainSettings, parts: tuple[Part, ...], **more: Any) -> Trained:
    """Local training as the settings say, of texts with labels."""
    steps = steps_in_round(settings, len(shard), private=False).total
    phase = Phase(parts, more.pop("steps", steps), more.pop("slots", None))
    rng = more.pop("rng", np.random.default_rng(0))
    return train(net, shard, settings, phase, rng, **{"losses": CLASSIFICATION.losses, "pad": 0, **more})


def settings_of(values: dict[str, Any]) -> dict[str, Any]:
    """A whole run config: the defaults without privacy, and these."""
    return {**Settings().flat(), "privacy.unit": "none", **values}


def ledger_epsilon(ledger: Ledger, federation: str | None = None) -> float:
    """Epsilon at 1e-5 of a ledger's training: of one run, or of all of them, composed as if they had been fixed."""
    entries = [e for e in ledger.entries if federation in (None, e.federation) and e.lane == "train"]
    return epsilon([e.use for e in entries], 1e-5)
