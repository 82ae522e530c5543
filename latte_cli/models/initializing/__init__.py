"""How a network begins that is initialized from weights of another one."""
