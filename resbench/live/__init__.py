"""What a person sees of a suite while it runs."""
