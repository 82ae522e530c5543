"""What several test modules share: small networks, data sets, archives, reference code."""
