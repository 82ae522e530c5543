"""From clips to rows of features, kept on disk."""
