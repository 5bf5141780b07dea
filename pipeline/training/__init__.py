"""What both trainings share: learners, losses, the loop and its checkpoints."""
