"""What training consists of: the step, and seeing how it goes."""
