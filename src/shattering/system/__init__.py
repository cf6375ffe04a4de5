"""The operating system: whole files, the cache folder, memory and cores, processes, signals."""
