"""What every part of the program leans on: console, devices, processes, files, signals, errors."""
