"""Archives of data sets: how each kind is read, and unpacking them whole and safely."""
