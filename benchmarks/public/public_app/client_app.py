"""The ClientApp."""

import csv
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from public_app.task import turn

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Load everything, train, send the adapter."""
    config = context.run_config
    with Path(str(config["texts"])).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    mine = rows[int(context.node_config["partition-id"]) :: int(context.node_config["num-partitions"])]
    received = message.content.array_records["arrays"].to_torch_state_dict()
    texts, labels = [row["text"] for row in mine], [names.index(row["label"]) for row in mine]
    steps, batch, lr = int(config["steps"]), int(config["batch"]), float(config["lr"])
    state = turn(str(config["model"]), texts, labels, len(names), received or None, steps, batch, lr)
    metrics = MetricRecord({"num-examples": len(mine)})
    return Message(RecordDict({"arrays": ArrayRecord(state), "metrics": metrics}), reply_to=message)
