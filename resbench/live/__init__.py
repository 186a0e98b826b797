"""What a person sees of a suite while it runs, and event files for TensorBoard.

``view.py`` is what the verbs use. It hands every message on to ``board.py`` (where each trial stands) and ``left.py``
(how long it still takes), which ``dashboard.py`` draws in a terminal; ``lines.py`` writes what stays. ``eventfiles.py``
follows the same messages on its own.
"""
