"""The bench: named problems, the peers beside ours in the same run, a table, a file and a picture. `python -m bench --help`."""
