"""How good it is and how sure we are: metrics, intervals, baselines, the report."""
