"""Networks in the formats of others: writing them, and comparing what was written."""
