"""Features computed by many processes or machines: shards, workers, the schedule, and Ray."""
