"""From a suite to its planned trials: every name resolved, every mistake found before anything is measured."""
