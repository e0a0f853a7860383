"""The fair board: methods side by side, each tuned by the same effort, on data that tuning never saw.

`python -m benchmarks.board run`   runs the cells that are missing, and keeps each as a row of a file
`python -m benchmarks.board untrained`  prints what all begin with
`python -m benchmarks.board page`  makes docs/results.md of the board and its rows

The same board with other data, or another model, has rows and a page of its own:
`python -m benchmarks.board run --data hub:owner/name --rows FILE -c 'model.name=owner/model lora.targets=attention'`,
then `page` with the same `--rows` and `-c`. `-c 'data.text=… data.label=…'` names other columns.
"""
