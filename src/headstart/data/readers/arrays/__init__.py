"""Arrays in files and in memory, and whatever else Python holds: pictures, recordings and texts with labels."""
