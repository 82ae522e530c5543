"""How commands talk to their users: help, wrong usage, and what to do next."""
