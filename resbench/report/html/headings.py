"""What the headings of tables mean, in a sentence each: shown where a reader points at one."""

from __future__ import annotations

from resbench.report.pairs import TEST

HEADINGS = {
    "model": "As the registry names it.",
    "params (M)": "Parameters, in millions.",
    "MACs (M)": "Multiply-adds of convolutions, linear layers and the like, forward pass of one image, in millions.",
    "test accuracy (%)": "Last epoch, all test images: mean ± standard deviation over n seeds.",
    "95 % interval": "Of the mean, from Student's t over the seeds.",
    "tier": "Models that share a letter are not separated by these runs (Welch's t-test, Holm-corrected).",
    "train images/s": "Images trained on over the train clock, which is data + step.",
    "inference images/s": "One batch forward in eval mode.",
    "latency p50 (ms)": "Median forward pass of one image in eval mode.",
    "step p50 (ms)": "Median of data + forward + backward + update of one batch.",
    "train memory (MiB)": "Peak of training, measured in a pass of its own.",
    "train time": "The train clock: data + step, without evaluation, compiling and checkpoints.",
    "status": "How many of the planned seeds ended ok; † marks a suspect one.",
    "difference (points)": "In percentage points of test accuracy.",
    "p": f"Two-sided, of {TEST}.",
    "p (Holm)": "Corrected for all pairs of the table.",
    "over other images": "95 % interval over test images drawn anew, the trained networks held fixed.",
    "separated": "Whether p (Holm) is below 0.05.",
    "batch": "Images a batch.",
    "batch size": "Images a batch.",
    "activations (M)": "Outputs of convolutions and linear layers for one image, in millions.",
    "forward (ms)": "Forward pass and loss of one training batch, median.",
    "backward (ms)": "Backward pass of one training batch, median.",
    "inference memory (MiB)": "Peak of a forward pass in eval mode.",
    "phase": "Where the trial ended.",
}
