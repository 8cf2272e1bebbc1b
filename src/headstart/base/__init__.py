"""What every other layer stands on."""
