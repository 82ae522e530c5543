"""Print a table of all messages of the project's errors: where, what happened, what to do.

python tests/recipes/messages.py > messages.md
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.messages import all_messages

if __name__ == "__main__":
    print("| where | error | hint |\n|---|---|---|")
    for each in all_messages():
        cells = (each.place, each.message, each.hint or "")
        print("|", " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells), "|")
