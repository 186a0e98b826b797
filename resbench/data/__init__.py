"""What a trial learns from: datasets decoded once, and their batches on the device."""
