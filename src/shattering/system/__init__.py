"""What everything stands on: files written whole, memory and cores, processes that end, signals."""
