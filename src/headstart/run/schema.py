"""The version of `result.json`, which every command writes."""

SCHEMA = 1
