"""What every package relies on: console, devices, processes, files, signals, errors."""
