"""What is learned on features: linear maps, their choice and their calibration."""
